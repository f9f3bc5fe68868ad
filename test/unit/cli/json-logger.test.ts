import { describe, expect, it } from "vitest";
import { createLogger, LOG_LEVELS } from "../../../src/base/json-logger.ts";

function logged(options: { human?: boolean; colours?: boolean; level?: (typeof LOG_LEVELS)[number] } = {}) {
	const lines: string[] = [];
	const logger = createLogger({
		level: options.level ?? "debug",
		human: options.human ?? false,
		colours: options.colours ?? false,
		write: (line) => void lines.push(line),
		now: () => Date.UTC(2026, 4, 1, 12, 0, 0, 5),
	});
	return { logger, lines };
}

describe("the log", () => {
	it("is one JSON object a line: time, level, message, then the fields", () => {
		const { logger, lines } = logged();
		logger.warn("slow\ndisk", { ms: 7, file: "a b" });
		expect(lines).toEqual([
			'{"time":"2026-05-01T12:00:00.005Z","level":"warn","message":"slow\\ndisk","ms":7,"file":"a b"}\n',
		]);
	});

	it("writes what is at or above its level", () => {
		for (const [least, level] of LOG_LEVELS.entries()) {
			const { logger, lines } = logged({ level });
			for (const each of LOG_LEVELS) logger[each]("x");
			expect(lines.map((line) => JSON.parse(line).level)).toEqual(LOG_LEVELS.slice(least));
		}
	});

	it("never throws, whatever the fields hold, and fields cannot forge the head", () => {
		const { logger, lines } = logged();
		const cycle: Record<string, unknown> = {};
		cycle.self = cycle;
		logger.error("a", { cycle });
		logger.error("b", { big: 2n ** 60n, bytes: Buffer.from("x"), level: "info", message: "forged" });
		logger.error("c", { error: Object.assign(new Error("broken", { cause: new Error("deep") }), { code: "EIO" }) });
		expect(lines).toHaveLength(3);
		expect(JSON.parse(lines[1] as string)).toMatchObject({
			level: "error",
			message: "b",
			big: "1152921504606846976",
			bytes: "eA==",
		});
		expect(JSON.parse(lines[2] as string).error).toMatchObject({
			message: "broken",
			code: "EIO",
			cause: { message: "deep" },
		});
	});

	it("for people is one line of text that steers no terminal", () => {
		const { logger, lines } = logged({ human: true });
		logger.info("client \x1b[2J gone", { id: "a\u009bb", why: "time out", count: 2, none: undefined });
		expect(lines).toEqual(['12:00:00.005 info  client \\x1b[2J gone id=a\\x9bb why="time out" count=2\n']);
		const quoted = logged({ human: true });
		quoted.logger.info("x", { id: "a \u009b b" });
		expect(quoted.lines[0]).toContain('id="a \\u009b b"');
	});

	it("has colours only when asked", () => {
		const { logger, lines } = logged({ human: true, colours: true });
		logger.error("x");
		expect(lines[0]).toContain("\x1b[31merror\x1b[0m");
	});
});
