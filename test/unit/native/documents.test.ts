/** docs/native-protocol.md and docs/native-client.md are true: the session byte by byte, every number, every example. */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Clock, systemClock } from "../../../src/base/clock.ts";
import {
	MAX_REQUESTS_IN_FLIGHT,
	MAX_SUBSCRIPTIONS,
	MESSAGE,
	PRODUCER_WINDOW,
} from "../../../src/native/codec/protocol.ts";
import { REQUESTS } from "../../../src/native/codec/requests.ts";
import { NativeGateway } from "./native-gateway.ts";

const root = path.resolve(import.meta.dirname, "../../..");
const protocol = readFileSync(path.join(root, "docs/native-protocol.md"), "utf8");
const client = readFileSync(path.join(root, "docs/native-client.md"), "utf8");

let gateway: NativeGateway;
afterEach(() => gateway.stop());

describe("docs/native-protocol.md", () => {
	const clock: Clock = { ...systemClock, now: () => 1_700_000_000_000 };
	beforeEach(async () => {
		gateway = await NativeGateway.start({ clock });
		gateway.broker.topics.create({ name: "t", partitions: 1 });
	});

	it("shows a session as it is, byte by byte", async () => {
		const section = protocol.slice(protocol.indexOf("## A session, byte by byte"));
		const frames = [...section.matchAll(/^([<>])((?: [0-9a-f]{2})+(?:\n {2}(?: ?[0-9a-f]{2})+)*)/gm)];
		expect(frames.length).toBeGreaterThanOrEqual(10);
		const peer = await gateway.peer();
		const received: Buffer[] = [];
		peer.socket.on("data", (chunk: Buffer) => received.push(chunk));
		let expected = "";
		for (const [, direction, text] of frames) {
			const bytes = (text as string).replaceAll(/\s/g, "");
			if (direction === ">") {
				peer.socket.write(Buffer.from(bytes, "hex"));
				continue;
			}
			expected += bytes;
			await peer.message();
			// A push may have come with the answer before it.
			expect(Buffer.concat(received).toString("hex").slice(0, expected.length)).toBe(expected);
		}
		await peer.closed;
		expect(Buffer.concat(received).toString("hex")).toBe(expected);
	});

	it("has every message with its number, and the limits", () => {
		for (const [type, { name, body }] of Object.entries(REQUESTS)) {
			const rule = `${name.replace(" ", "-")}`;
			expect(protocol).toMatch(new RegExp(`^${rule}\\s*= \\[${type}, id: uint32, \\{`, "m"));
			const definition = protocol.slice(protocol.search(new RegExp(`^${rule}\\s*= \\[${type},`, "m")));
			const text = definition.slice(0, definition.search(/\}\]/));
			for (const [key, field] of Object.entries(body.fields)) {
				expect(text).toMatch(new RegExp(`${field.optional ? "\\? " : "(^|[^?]) ?"}${key} => `, "m"));
			}
		}
		for (const [name, type] of [
			["records", MESSAGE.RECORDS],
			["end", MESSAGE.END],
			["error", MESSAGE.ERROR],
		] as const) {
			expect(protocol).toMatch(new RegExp(`^${name} = \\[${type}, id: uint32`, "m"));
		}
		expect(protocol).toContain(`the last ${PRODUCER_WINDOW} of`);
		expect(protocol).toContain(`allows (${MAX_REQUESTS_IN_FLIGHT})`);
		expect(protocol).toContain(`most ${MAX_SUBSCRIPTIONS} subscriptions`);
	});
});

describe("docs/native-client.md", () => {
	beforeEach(async () => {
		gateway = await NativeGateway.start();
	});

	const examples = [...client.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, text]) => text as string);

	it("has examples that run, one after the other, and print what they say", async () => {
		expect(examples.length).toBeGreaterThanOrEqual(4);
		const module = pathToFileURL(path.join(root, "src/native/client/client.ts")).href;
		const { connect, HeadwaterError } = (await import(module)) as typeof import("../../../src/native/client/client.ts");
		for (const example of examples) {
			const printed: string[] = [];
			const body = stripTypeScriptTypes(example.replace(/^import .*$/gm, ""), { mode: "strip" });
			const run = new Function("connect", "HeadwaterError", "console", `return (async () => {${body}})();`);
			const here = (options = {}) => connect({ ...options, port: gateway.port });
			await run(here, HeadwaterError, { log: (...words: unknown[]) => printed.push(words.map(String).join(" ")) });
			const said = [...example.matchAll(/\/\/ prints: (.*)$/gm)].map(([, line]) => line);
			expect(printed).toEqual(said);
			// The next one counts connections: of this one's the door hears later than its client.
			await vi.waitUntil(() => gateway.door.stats().connections === 0);
		}
	});
});
