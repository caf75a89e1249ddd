/** Every row, in the order in which they are printed. */
import type { Row } from "../row.ts";
import { bash } from "./bash.ts";
import { burst } from "./burst.ts";
import { density } from "./density.ts";
import { empty } from "./empty.ts";
import { fleet } from "./fleet.ts";
import { fresh } from "./fresh.ts";
import { memory } from "./memory.ts";
import { operations } from "./operations.ts";
import { restart } from "./restart.ts";
import { throughput } from "./throughput.ts";
import { transfer } from "./transfer.ts";
import { wake } from "./wake.ts";
import { warm } from "./warm.ts";

/** Measured when no row is named. */
export const ROWS: readonly Row[] = [
  warm,
  fresh,
  empty,
  burst,
  wake,
  restart,
  throughput,
  transfer,
  memory,
  density,
  bash,
  operations,
];

/** Several hosts with a directory and a bucket: by its name alone. */
export const FURTHER_ROWS: readonly Row[] = [fleet];
