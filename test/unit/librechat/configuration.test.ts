import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { CAPABILITIES, librechatConfiguration } from "../../../gateway/common/librechat/configuration.ts";

describe("LibreChat's configuration", () => {
  it("asks for stateful sessions at this service, besides what agents can do anyway", () => {
    expect(parse(librechatConfiguration("https://code.example.org/v1"))).toEqual({
      endpoints: {
        agents: {
          capabilities: [...CAPABILITIES],
          statefulCodeSessions: {
            allowedEnvironments: ["conversation", "agent-user", "user"],
            environments: [
              {
                id: "kernelyard",
                name: "Kernelyard",
                type: "managed",
                baseURL: "https://code.example.org/v1",
                default: true,
              },
            ],
          },
        },
      },
    });
  });
});
