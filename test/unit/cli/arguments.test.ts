import { describe, expect, it } from "vitest";
import { UsageError } from "../../../src/cli/failure.ts";
import { parseGatewayAddress } from "../../../src/cli/gateway.ts";
import { splitPair, wholeNumber } from "../../../src/cli/options.ts";
import { parsePosition } from "../../../src/cli/position.ts";
import { createProgram, runProgram } from "../../../src/cli/program.ts";
import { parseStartArguments } from "../../../src/cli/start-arguments.ts";

describe("the arguments of start", () => {
	it("takes --config, --data and --set in both forms, --set more than once", () => {
		expect(parseStartArguments([])).toEqual({ set: [] });
		expect(parseStartArguments(["--config", "a.yaml", "--data=/d", "--set", "x=1", "-s", "y=2=3", "--set=z="])).toEqual(
			{
				config: "a.yaml",
				data: "/d",
				set: ["x=1", "y=2=3", "z="],
			},
		);
	});

	it("leaves help to the program that has it", () => {
		expect(parseStartArguments(["--set", "a=b", "--help"])).toBe("help");
		expect(parseStartArguments(["-h"])).toBe("help");
	});

	it.each([
		[["--foo"], "start has no option --foo"],
		[["here"], 'start takes no argument "here"'],
		[["mqtt.listen=a:1"], "did you mean --set mqtt.listen=a:1?"],
		[["--mqtt.listen=a:1"], "did you mean --set mqtt.listen=a:1?"],
		[["--data"], "--data needs a value"],
		[["--config="], "--config needs a value"],
	])("refuses %j: %s", (list, told) => {
		expect(() => parseStartArguments(list)).toThrow(UsageError);
		expect(() => parseStartArguments(list)).toThrow(told);
	});
});

describe("where consume begins", () => {
	const now = Date.UTC(2026, 4, 1, 12);
	it.each([
		["earliest", "earliest"],
		["latest", "latest"],
		["0", { offset: 0 }],
		["1234567890123", { offset: 1_234_567_890_123 }],
		["-2h", { timestamp: now - 7_200_000 }],
		["-90s", { timestamp: now - 90_000 }],
		["-1.5d", { timestamp: now - 129_600_000 }],
		["2026-05-01T10:00:00Z", { timestamp: Date.UTC(2026, 4, 1, 10) }],
		["2026-05-01 12:00:00+02:00", { timestamp: Date.UTC(2026, 4, 1, 10) }],
		["2026-05-01", { timestamp: Date.UTC(2026, 4, 1) }],
	])("%s", (text, position) => {
		expect(parsePosition(text, now)).toEqual(position);
	});

	it.each(["", "now", "-2", "-", "--2h", "-h", "2h", "2026-13-01", "yesterday", "1.5", "99999999999999999999"])(
		"refuses %j and says what is known",
		(text) => {
			expect(() => parsePosition(text, now)).toThrow(/earliest, latest, an offset/);
		},
	);
});

describe("where the gateway is", () => {
	it.each([
		["127.0.0.1:9470", "127.0.0.1", 9470],
		["gateway:1", "gateway", 1],
		["gateway", "gateway", 9470],
		["9471", "127.0.0.1", 9471],
		[":9471", "127.0.0.1", 9471],
		["[::1]:9471", "::1", 9471],
		["[::1]", "::1", 9470],
	])("%s", (text, host, port) => {
		expect(parseGatewayAddress(text)).toEqual({ host, port });
	});

	it.each(["", "a:b", "a:0", "a:70000", "::1:9470", "a:1:2", "a b:1:"])("refuses %j", (text) => {
		expect(() => parseGatewayAddress(text)).toThrow(UsageError);
	});
});

describe("option values", () => {
	it("takes whole numbers in their range only", () => {
		expect(wholeNumber("--max", 1)("7")).toBe(7);
		for (const text of ["0", "-1", "1.5", "x", "", "1e3", "99999999999999999999"]) {
			expect(() => wholeNumber("--max", 1)(text)).toThrow("--max");
		}
		expect(() => wholeNumber("--partitions", 1, 10)("11")).toThrow("from 1 to 10");
	});

	it("splits name=value at the first equals sign", () => {
		expect(splitPair("--header", "a=b=c")).toEqual(["a", "b=c"]);
		expect(splitPair("--header", "a=")).toEqual(["a", ""]);
		expect(() => splitPair("--header", "=b")).toThrow("is not name=value");
		expect(() => splitPair("--header", "a")).toThrow("is not name=value");
	});
});

describe("the program", () => {
	/** A program whose help goes nowhere. */
	const quiet = () => {
		const program = createProgram();
		const visit = (command: ReturnType<typeof createProgram>): void => {
			command.configureOutput({ writeOut: () => undefined, writeErr: () => undefined, outputError: () => undefined });
			command.commands.forEach(visit as (each: unknown) => void);
		};
		visit(program);
		return program;
	};

	it.each([
		[["consum", "x"], "unknown command 'consum'; did you mean consume? See headwater --help"],
		[["topic", "lst"], "did you mean list? See headwater topic --help"],
		[["topic", "list", "--foo"], "unknown option '--foo'; see headwater topic list --help"],
		[["consume"], "missing required argument 'topic'; see headwater consume --help"],
		[["consume", "t", "--max", "none"], '--max "none" is not a whole number of at least 1'],
		[["consume", "t", "--from", "soon"], '--from "soon" is no position'],
		[["consume", "t", "--until", "noon"], "only end is known"],
		[["topic", "create", "t", "--config", "retention.ms"], '--config "retention.ms" is not name=value'],
		[["topic", "alter", "t"], "nothing to change"],
		[["produce", "t", "--key", "a", "--key-separator", ":"], "--key and --key-separator both give the key"],
		[["topic", "list", "--connect", "a:b"], '--connect "a:b" is no address'],
		[[], "name a command"],
		[["topic"], "name a command"],
	])("headwater %j is a usage error: %s", async (list, told) => {
		const outcome = runProgram(list, quiet());
		await expect(outcome).rejects.toThrow(UsageError);
		await expect(outcome).rejects.toThrow(told);
	});

	it("has help with an example on every verb", () => {
		const lacking: string[] = [];
		const visit = (command: ReturnType<typeof createProgram>, name: string) => {
			let help = "";
			command.configureOutput({
				writeOut: (text) => {
					help += text;
				},
			});
			command.outputHelp();
			if (!help.includes(`Examples:\n`) || command.description() === "") lacking.push(name);
			for (const each of command.commands) visit(each, `${name} ${each.name()}`);
		};
		visit(createProgram(), "headwater");
		expect(lacking).toEqual([]);
	});

	it("offers --connect where a gateway is talked to, and only there", () => {
		const help = (name: string) =>
			createProgram()
				.commands.find((each) => each.name() === name)
				?.helpInformation() ?? "";
		for (const name of ["consume", "produce", "status", "topic"]) expect(help(name)).toContain("--connect");
		for (const name of ["start", "verify", "dump", "config"]) expect(help(name)).not.toContain("--connect");
	});
});
