/** Kafka's command-line programs, unmodified, many of them in one JVM: kit/java/ToolShell.java. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import readline from "node:readline";
import type { Finished } from "../../support/gateway.ts";

export const KAFKA_CLI = path.resolve(import.meta.dirname, "../kit/kafka/kafka-cli");

export interface ToolShell {
	/** Runs `tool` with `parameters`, split at spaces, for the broker at `bootstrap`; whatever its exit code is. */
	run(tool: string, parameters: string, stdin?: string): Promise<Finished>;
	/** What it wrote to stdout; fails with all that it said unless it ended with 0. */
	out(tool: string, parameters: string, stdin?: string): Promise<string>;
	close(): Promise<void>;
}

/** `bootstrap` is given to each tool as --bootstrap-server; `classes` is the folder with the compiled kit/java. */
export function openToolShell(bootstrap: string, classes: string): ToolShell {
	const child = spawn(KAFKA_CLI, ["shell"], {
		stdio: ["pipe", "pipe", "inherit"],
		env: { ...process.env, KAFKA_CLASSES: classes },
	});
	const answers = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
	let last: Promise<unknown> = Promise.resolve();
	const ask = async (tool: string, parameters: string, stdin: string): Promise<Finished> => {
		const given = parameters.split(" ").filter((word) => word !== "");
		// Of `cluster` alone the first word is what to do; its options follow.
		const at = tool === "cluster" ? 1 : 0;
		const args = given.toSpliced(at, 0, "--bootstrap-server", bootstrap);
		child.stdin.write(`${JSON.stringify({ tool, args, stdin })}\n`);
		const { done, value } = await answers.next();
		if (done === true) throw new Error(`the JVM ended while it ran ${tool} ${parameters}`);
		return JSON.parse(value);
	};
	const inTurn = (tool: string, parameters: string, stdin = ""): Promise<Finished> => {
		const answer = last.then(() => ask(tool, parameters, stdin));
		last = answer.catch(() => undefined);
		return answer;
	};
	return {
		run: inTurn,
		async out(tool, parameters, stdin) {
			const { code, stdout, stderr } = await inTurn(tool, parameters, stdin);
			if (code !== 0) throw new Error(`${tool} ${parameters} ended with ${code}:\n${stdout}\n${stderr}`);
			return stdout;
		},
		async close() {
			child.stdin.end();
			if (child.exitCode === null) await once(child, "exit");
		},
	};
}
