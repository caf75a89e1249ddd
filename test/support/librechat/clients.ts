/** The real client packages, loaded from their fixtures, behind the few types that the tests need. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { z } from "zod";

const FIXTURES = join(import.meta.dirname, "../../contract/fixtures");

const functionOf = <T>() => z.custom<T>((value) => typeof value === "function");

export const FileEntry = z.looseObject({
  id: z.string(),
  name: z.string(),
  storage_session_id: z.string().optional(),
  session_id: z.string().optional(),
  inherited: z.boolean().optional(),
  modified_from: z.looseObject({ id: z.string(), storage_session_id: z.string() }).optional(),
  kind: z.string().optional(),
  resource_id: z.string().optional(),
  version: z.number().optional(),
});
export type FileEntry = z.infer<typeof FileEntry>;

const ToolMessage = z.object({
  /** What the model reads. */
  content: z.string(),
  /** What LibreChat keeps. */
  artifact: z
    .looseObject({
      session_id: z.string().optional(),
      files: z.array(FileEntry).optional(),
      deleted_files: z.array(z.string()).optional(),
      runtime_session_id: z.string().optional(),
      runtime_status: z.string().optional(),
    })
    .nullish()
    .transform((artifact) => artifact ?? {}),
});
export type ToolMessage = z.output<typeof ToolMessage>;

interface Tool {
  invoke(call: object, options?: { signal?: AbortSignal }): Promise<unknown>;
}
type Factory = (params: object) => Tool;

const Agents = z.object({
  createCodeExecutionTool: functionOf<Factory>(),
  createProgrammaticToolCallingTool: functionOf<Factory>(),
});
const NewAgents = Agents.extend({
  createBashExecutionTool: functionOf<Factory>(),
  createBashProgrammaticToolCallingTool: functionOf<Factory>(),
});

/** 3.9.2, what LibreChat 0.8.8 runs. */
export function loadAgents(): z.output<typeof NewAgents> {
  return NewAgents.parse(createRequire(join(FIXTURES, "gen2/package.json"))("@librechat/agents"));
}

/** 3.0.50: takes its address from the environment, once, when it is loaded. */
export function loadOldAgents(baseUrl: string): z.output<typeof Agents> {
  process.env.LIBRECHAT_CODE_BASEURL = baseUrl;
  return Agents.parse(createRequire(join(FIXTURES, "gen1/package.json"))("@librechat/agents"));
}

/** Calls a tool as LibreChat's ToolNode does; `context` is what that injects beside the model's arguments. */
export async function callTool(
  tool: Tool,
  name: string,
  args: object,
  context: object = {},
  options: { signal?: AbortSignal } = {},
): Promise<ToolMessage> {
  return ToolMessage.parse(
    await tool.invoke({ name, args, id: "c1", type: "tool_call", ...context }, options),
  );
}

const Form = z.custom<FormLike>((value) => typeof value === "object" && value !== null && "append" in value);
interface FormLike {
  append(name: string, value: unknown, options?: object): void;
  getHeaders(): Record<string, string>;
}
type FormConstructor = new () => unknown;
interface AxiosAnswer {
  readonly status: number;
  readonly data: unknown;
  readonly headers: Readonly<Record<string, unknown>>;
}
const Axios = z.custom<{
  post(url: string, body: unknown, options: object): Promise<AxiosAnswer>;
  get(url: string, options: object): Promise<AxiosAnswer>;
  delete(url: string, options: object): Promise<AxiosAnswer>;
}>((value) => typeof value === "function");

/** form-data and axios, which LibreChat uploads with. */
export function loadUploader() {
  const require = createRequire(join(FIXTURES, "gen2/package.json"));
  const axios = Axios.parse(require("axios"));
  const FormData = functionOf<FormConstructor>().parse(require("form-data"));
  return { axios, newForm: () => Form.parse(new FormData()) };
}
