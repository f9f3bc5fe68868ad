import { describe, expect, it } from "vitest";
import { StartError } from "../../../src/base/errors.ts";
import { explainStart } from "../../../src/cli/explain-start.ts";
import { CommandError, describeFailure, exitCodeOf, UsageError } from "../../../src/cli/failure.ts";
import { DEFAULT_CONFIG } from "../../../src/config/keys.ts";
import { loadConfig } from "../../../src/config/load.ts";
import { HeadwaterError } from "../../../src/native/client/errors.ts";

const system = (code: string, more: object = {}) => Object.assign(new Error(`${code}: it failed`), { code, ...more });
const told = (error: unknown) => describeFailure(error, false);

describe("how a command fails", () => {
	it("gives usage errors 2 and all others 1", () => {
		expect(exitCodeOf(new UsageError("x"))).toBe(2);
		for (const error of [new CommandError("x"), new StartError("x"), new Error("x"), "x"])
			expect(exitCodeOf(error)).toBe(1);
	});

	it("tells messages that are written for people as they are, one line each, without a stack", () => {
		expect(told(new CommandError("a"))).toBe("headwater: a\n");
		expect(told(new StartError("a\nb"))).toBe("headwater: a\nheadwater: b\n");
		expect(told(new HeadwaterError("UNKNOWN_TOPIC_OR_PARTITION", "there is no topic x"))).toBe(
			"headwater: there is no topic x\n",
		);
	});

	it("tells every problem of a configuration on a line of its own", () => {
		try {
			loadConfig({ set: ["a=1", "num.partitions=x"] });
		} catch (error) {
			expect(told(error).split("\n")).toHaveLength(3);
			expect(told(error)).toContain("headwater: --set num.partitions=x: num.partitions:");
			return;
		}
		throw new Error("the configuration was taken");
	});

	it("translates the system's errors and keeps what it does not know", () => {
		expect(told(system("ENOENT", { path: "/nope" }))).toBe("headwater: /nope: there is no such file or folder\n");
		expect(told(system("ENOSPC"))).toContain("no space is left");
		expect(told(system("EWHATEVER"))).toBe("headwater: EWHATEVER: it failed\n");
		expect(told(new TypeError("boom"))).toBe("headwater: unexpected: boom; HEADWATER_DEBUG=1 shows where\n");
		expect(told("text")).toBe("headwater: text\n");
	});

	it("shows stacks and causes with HEADWATER_DEBUG=1 only", () => {
		const error = new CommandError("outer", { cause: new Error("inner") });
		expect(describeFailure(error, true)).toMatch(/CommandError: outer\n\s+at [\s\S]*caused by Error: inner\n\s+at /);
		expect(told(error)).not.toContain("inner");
	});
});

describe("a start that fails on a socket", () => {
	const message = (error: unknown) => (explainStart(error, DEFAULT_CONFIG) as Error).message;

	it("says which key chooses another port", () => {
		const inUse = message(system("EADDRINUSE", { address: "127.0.0.1", port: 1883 }));
		expect(inUse).toContain("127.0.0.1:1883 (mqtt.listen) is in use");
		expect(inUse).toContain("--set mqtt.listen=HOST:PORT");
		expect(message(system("EADDRINUSE", { address: "127.0.0.1", port: 9470 }))).toContain("--set native.listen=");
		expect(message(system("EACCES", { address: "127.0.0.1", port: 1883 }))).toContain("no permission to listen");
		expect(message(system("EADDRNOTAVAIL", { address: "127.0.0.1", port: 1883 }))).toContain(
			"--set mqtt.listen=0.0.0.0:1883",
		);
		expect(message(system("ENOTFOUND", { hostname: "127.0.0.1" }))).toContain("no such host");
	});

	it("looks behind a door's own words", () => {
		const cause = system("EADDRINUSE", { address: "127.0.0.1", port: 1883 });
		expect(message(new StartError("another program listens there", { cause }))).toContain(
			"--set mqtt.listen=HOST:PORT",
		);
	});

	it("leaves other errors as they are", () => {
		for (const error of [new StartError("in use by process 7"), system("EADDRINUSE", { port: 5 }), system("EIO")]) {
			expect(explainStart(error, DEFAULT_CONFIG)).toBe(error);
		}
	});
});
