import { AWS_POLICIES } from "./aws";
import { AWS_STACK_POLICIES } from "./aws-stack";
import { CONTAINER_POLICIES } from "./containers";
import { SANDBOX_POLICIES } from "./sandboxes";

export const POLICIES = [...CONTAINER_POLICIES, ...SANDBOX_POLICIES, ...AWS_POLICIES, ...AWS_STACK_POLICIES];
