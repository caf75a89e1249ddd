/** The served description of the API; `docs/openapi.json` is its committed copy. */
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { AppEnv } from "./context.ts";

/** Made once per application: every call would register the components again. */
export function openApiDocument(app: OpenAPIHono<AppEnv>) {
  app.openAPIRegistry.registerComponent("securitySchemes", "apiKey", {
    type: "apiKey",
    in: "header",
    name: "X-API-Key",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "operatorKey", {
    type: "apiKey",
    in: "header",
    name: "X-Operator-Key",
  });
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Kernelyard",
      version: "1",
      license: { name: "Apache-2.0" },
      description:
        "Code execution in isolated live kernels. What the code did is a result (200); 4xx and 5xx speak of the service alone.",
    },
    servers: [{ url: "/v1" }, { url: "/" }],
  });
}
