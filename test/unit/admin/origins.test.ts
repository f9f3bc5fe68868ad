import { describe, expect, it } from "vitest";
import { isLoopback, OriginRules } from "../../../src/admin/origins.ts";
import { StartError } from "../../../src/base/errors.ts";

describe("OriginRules.allows", () => {
	const none = OriginRules.parse("");
	const listed = OriginRules.parse("https://panel.example.com  http://10.0.0.7:8080");

	it.each([
		["http://127.0.0.1:9480", "127.0.0.1:9480"],
		["http://gateway.local", "gateway.local"],
		["http://gateway.local", "gateway.local:80"],
		["http://gateway.local:80", "gateway.local"],
		["https://gateway.local", "gateway.local"],
		["https://gateway.local", "gateway.local:443"],
		["http://GateWay.local:9480", "gateway.LOCAL:9480"],
		["http://[::1]:9480", "[::1]:9480"],
	])("%s of the same host and port, %s", (origin, host) => {
		expect(none.allows(origin, host)).toBe(true);
	});

	it.each([
		["http://evil.example", "127.0.0.1:9480"],
		["http://127.0.0.1:8080", "127.0.0.1:9480"],
		["http://127.0.0.1", "127.0.0.1:9480"],
		["https://gateway.local", "gateway.local:80"],
		["http://gateway.local.evil.example", "gateway.local"],
		["http://evilgateway.local", "gateway.local"],
		["null", "127.0.0.1:9480"],
		["", "127.0.0.1:9480"],
		["file://", "127.0.0.1:9480"],
		["http://127.0.0.1:9480/", "127.0.0.1:9480"],
		["http://evil@127.0.0.1:9480", "127.0.0.1:9480"],
		["http://127.0.0.1:9480, http://evil.example", "127.0.0.1:9480"],
		["http://127.0.0.1:9480", undefined],
		["http://127.0.0.1:9480", "127.0.0.1:9480/x"],
	])("not %j at %j", (origin, host) => {
		expect(none.allows(origin, host)).toBe(false);
	});

	it("takes what is listed, with scheme and port, and nothing else", () => {
		expect(listed.allows("https://panel.example.com", "gateway:9480")).toBe(true);
		expect(listed.allows("https://panel.example.com:443", "gateway:9480")).toBe(true);
		expect(listed.allows("http://10.0.0.7:8080", "gateway:9480")).toBe(true);
		expect(listed.allows("http://panel.example.com", "gateway:9480")).toBe(false);
		expect(listed.allows("https://panel.example.com:8443", "gateway:9480")).toBe(false);
		expect(listed.allows("https://x.panel.example.com", "gateway:9480")).toBe(false);
	});

	it("takes all with *", () => {
		expect(OriginRules.parse("*").allows("null", "gateway")).toBe(true);
		expect(OriginRules.parse("https://a.example *").allows("http://evil.example", "gateway")).toBe(true);
	});
});

describe("OriginRules.knows", () => {
	it.each([
		["127.0.0.1:9480", true],
		["127.0.0.1", true],
		["[::1]:9480", true],
		["192.168.1.5:80", true],
		["localhost", true],
		["LOCALHOST:9480", true],
		["panel.localhost:9480", true],
		["panel.example.com", true],
		["panel.example.com:9480", true],
		["evil.example:9480", false],
		["localhost.evil.example", false],
		["127.0.0.1.evil.example", false],
		["evil.example#localhost", false],
		["user@localhost", false],
		["", false],
	])("%j: %s", (host, known) => {
		expect(OriginRules.parse("https://panel.example.com").knows(host)).toBe(known);
	});

	it("every name with *", () => {
		expect(OriginRules.parse("*").knows("evil.example")).toBe(true);
	});
});

it.each([
	"panel.example.com",
	"https://panel.example.com/",
	"https://a/b",
	"ws://a",
	"null",
	"https://",
	"https://a:99999",
])("refuses %j in http.allowed.origins", (text) => {
	expect(() => OriginRules.parse(text)).toThrow(StartError);
	expect(() => OriginRules.parse(text)).toThrow(/^http\.allowed\.origins: .*as https:\/\/panel\.example\.com$/);
});

it.each([
	["127.0.0.1", true],
	["127.1.2.3", true],
	["::1", true],
	["::ffff:127.0.0.1", true],
	["0.0.0.0", false],
	["::", false],
	["192.168.127.1", false],
	["::ffff:10.127.0.1", false],
])("isLoopback(%s) is %s", (address, loopback) => {
	expect(isLoopback(address)).toBe(loopback);
});
