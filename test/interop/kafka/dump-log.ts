/** kafka-dump-log over files of ours. It ends with 0 even on damage, so what it says is read for complaints. */
import { run } from "../../support/gateway.ts";
import { KAFKA_CLI } from "./tool-shell.ts";

/** What kafka-dump-log prints when it does not like what it reads. */
const COMPLAINT =
	/isvalid: false|Found \d+ invalid bytes|mismatch|Non-consecutive|is followed by|out of order|not monotonic|Exception|Error/i;

/** Version 4.3.1 says this of every segment that does not begin at 0, of Apache Kafka's own too. */
const FALSE_ALARM = /^Non-consecutive offsets in .*\/0*(\d+)\.log\n\s*-1 is followed by \1$/gm;

export async function dumpLog(
	files: readonly string[],
	...options: string[]
): Promise<{ lines: string[]; complaints: string[] }> {
	const { stdout, stderr } = await run(KAFKA_CLI, ["dump-log", ...options, "--files", files.join(",")]);
	const lines = `${stdout}\n${stderr}`.replace(FALSE_ALARM, "").split("\n");
	// What was stored must not pass for a complaint.
	const said = lines.map((line) => line.replace(/ (key|payload): .*$/, ""));
	return { lines, complaints: said.filter((line) => COMPLAINT.test(line)) };
}
