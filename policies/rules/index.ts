import { AWS_POLICIES } from "./aws";
import { CONTAINER_POLICIES } from "./containers";
import { SANDBOX_POLICIES } from "./sandboxes";

export const POLICIES = [...CONTAINER_POLICIES, ...SANDBOX_POLICIES, ...AWS_POLICIES];
