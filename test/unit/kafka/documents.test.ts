/** docs/kafka.md lists the APIs that are served, in their versions, and no others; and only settings that there are. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, it } from "vitest";
import { KEY_NAMES } from "../../../src/config/keys.ts";
import { APIS } from "../../../src/kafka/api-table.ts";

const page = readFileSync(path.resolve(import.meta.dirname, "../../../docs/kafka.md"), "utf8");

it("lists every API with its versions", () => {
	const listed = [...page.matchAll(/^\| (\d+) \| (\w+) \| ([\d-]+) \|/gm)].map(([, key, name, versions]) => [
		Number(key),
		name,
		versions,
	]);
	const served = APIS.map(({ request, versions: [from, to] }) => [
		request.apiKey,
		request.name.replace(/Request$/, ""),
		from === to ? String(from) : `${from}-${to}`,
	]);
	expect(listed).toEqual(served);
});

it("names settings that there are", () => {
	const [, settings = ""] = /^## Settings\n([\s\S]*?)^## /m.exec(page) ?? [];
	const named = [...settings.matchAll(/`([a-z.*]+)`/g)].map(([, name]) => name as string);
	expect(named.length).toBeGreaterThan(10);
	for (const name of named) {
		const prefix = name.replace(/\*$/, "");
		const found = KEY_NAMES.some((key) => (prefix === name ? key === name : key.startsWith(prefix)));
		expect([name, found]).toEqual([name, true]);
	}
});
