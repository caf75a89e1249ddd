import { SettingsError } from "../../../gateway/common/settings/read.ts";

/** What `work` finds wrong with the settings; none when it takes them. */
export function problemsOf(work: () => unknown): readonly string[] {
  try {
    work();
  } catch (error) {
    if (error instanceof SettingsError) return error.problems;
    throw error;
  }
  return [];
}
