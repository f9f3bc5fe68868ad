/** Vitest's global setup where a test starts the built program: brings dist/ up to date, once. */
import { execFileSync } from "node:child_process";
import path from "node:path";

export function setup(): void {
	const root = path.resolve(import.meta.dirname, "../..");
	execFileSync(process.execPath, [path.join(root, "build.mjs")], {
		cwd: root,
		stdio: ["ignore", "inherit", "inherit"],
	});
}
