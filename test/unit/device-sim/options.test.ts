import { describe, expect, it } from "vitest";
import { type SimOptions, simCommand } from "../../../device-sim/options.ts";

function parse(...args: string[]): SimOptions {
	const command = simCommand()
		.exitOverride()
		.configureOutput({ writeErr: () => {} });
	return command.parse(args, { from: "user" }).opts<SimOptions>();
}

describe("the simulator's command line", () => {
	it("has these defaults", () => {
		expect(parse()).toEqual({
			devices: 200,
			rate: 5,
			duration: 20_000,
			connect: { host: "127.0.0.1", port: 1883 },
			native: { host: "127.0.0.1", port: 9470 },
			qos: 1,
			mqtt: 4,
			profile: "mix",
			window: 20,
			flaky: 15_000,
			offline: 1500,
			drain: 30_000,
			topicTemplate: "sensors/site{n}/{device}/telemetry",
			topic: "telemetry",
			siteBroker: false,
			keep: false,
			json: false,
		});
	});

	it("reads times, addresses and numbers", () => {
		expect(parse("--duration", "90").duration).toBe(90_000);
		expect(parse("--duration", "1.5m", "--flaky", "300ms", "--crash-every", "3s")).toMatchObject({
			duration: 90_000,
			flaky: 300,
			crashEvery: 3000,
		});
		expect(parse("--connect", "gateway.local:1884").connect).toEqual({ host: "gateway.local", port: 1884 });
		expect(parse("--native", "[::1]:9470").native).toEqual({ host: "::1", port: 9470 });
		expect(parse("--connect", "1884").connect).toEqual({ host: "127.0.0.1", port: 1884 });
		expect(parse("--rate", "0.1").rate).toBe(0.1);
	});

	it.each([
		["--duration", "0", /more than 0/],
		["--duration", "soon", /20s, 1.5m/],
		["--connect", "localhost", /HOST:PORT/],
		["--connect", "localhost:99999", /HOST:PORT/],
		["--qos", "3", /from 0 to 2/],
		["--mqtt", "3.1", /from 3 to 5/],
		["--devices", "0", /from 1 to/],
		["--rate", "-1", /more than 0/],
		["--profile", "toaster", /mix, temperature, truck, vibration, meter/],
		["--topic-template", "a/+/{device}", /without \+ and #/],
		["--topic-template", "a/b", /\{device\}/],
	])("refuses %s %s, and says what would be right", (option, value, message) => {
		expect(() => parse(option, value)).toThrow(message);
	});
});
