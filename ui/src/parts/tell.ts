import { notifications } from "@mantine/notifications";
import { ApiProblem } from "../api/client";
import { sentence } from "./States";

const SHOWN_MS = 5_000;
const FAILURE_SHOWN_MS = 12_000;

/** Short notices about what was just done. */
export const tell = {
  done: (title: string, message?: string) =>
    notifications.show({ title, message: message ?? "", color: "teal", autoClose: SHOWN_MS, withBorder: true }),
  failed: (title: string) => (problem: unknown) => {
    const message = problem instanceof Error ? sentence(problem.message) : String(problem);
    const hint = problem instanceof ApiProblem && problem.hint ? ` ${sentence(problem.hint)}` : "";
    notifications.show({ title, message: message + hint, color: "red", autoClose: FAILURE_SHOWN_MS, withBorder: true });
  },
};
