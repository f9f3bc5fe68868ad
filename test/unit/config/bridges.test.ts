/** The key `bridges`: defaults, both spellings, what is refused and how, and that no password is shown. */
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../../src/config/load.ts";
import { showConfig, showConfigObjects } from "../../../src/config/show.ts";
import { readYaml } from "../../../src/config/yaml-file.ts";

const load = (text: string) => loadConfig({ file: { name: "h.yaml", content: readYaml(text) } });
const problem = (text: string): string => {
	try {
		load(text);
	} catch (error) {
		return (error as Error).message;
	}
	return "";
};

const SMALL = `
bridges:
  - name: site
    address: mqtt://192.168.1.10
    in:
      - { filter: "sensors/#", local.prefix: site1/ }
`;

describe("bridges", () => {
	it("has a default for everything but name, address and rules", () => {
		expect(load(SMALL).config.bridges).toEqual([
			{
				name: "site",
				address: { host: "192.168.1.10", port: 1883 },
				version: "5",
				clientId: "headwater-site",
				keepAliveSeconds: 60,
				sessionExpirySeconds: 4_294_967_295,
				qos: 1,
				maxInflight: 100,
				in: [{ filter: "sensors/#", remotePrefix: "", localPrefix: "site1/" }],
				out: [],
			},
		]);
	});

	it("takes nested names as well as dotted ones, units, and TLS by the address", () => {
		const [bridge] = load(`
bridges:
  - name: cloud
    address: "mqtts://[2001:db8::1]:8884"
    version: 3.1.1
    client: { id: gw-7 }
    username: u
    password.file: /etc/secret
    tls: { ca: ca.pem, certificate: c.pem, key: k.pem, server: { name: broker } }
    keep: { alive: { seconds: 2m } }
    out:
      - { filter: "#", local: { prefix: up/ }, order: newest-first, from: earliest }
`).config.bridges;
		expect(bridge).toMatchObject({
			address: { host: "2001:db8::1", port: 8884 },
			version: "3.1.1",
			clientId: "gw-7",
			passwordFile: "/etc/secret",
			tls: { ca: "ca.pem", certificate: "c.pem", key: "k.pem", serverName: "broker", insecure: false },
			keepAliveSeconds: 120,
			out: [{ filter: "#", localPrefix: "up/", remotePrefix: "", order: "newest-first", from: "earliest" }],
		});
	});

	it("says what is wrong, where, and what would be right", () => {
		const one = (lines: string) => problem(`bridges:\n  - name: site\n${lines.replace(/^/gm, "    ")}`);
		const rule = '\nin: [{ filter: "#" }]';
		const cases: [string, RegExp][] = [
			[
				`adress: mqtt://h${rule}`,
				/^h\.yaml:1: bridges: bridge 1 \(site\): there is no "adress"; did you mean address\?/,
			],
			[`address: h:1883${rule}`, /"address" does not say mqtt:\/\/ or mqtts:\/\/; right would be mqtt:\/\/HOST:PORT/],
			[`address: http://h${rule}`, /"address" begins with http:\/\//],
			[`address: mqtt://h:0${rule}`, /no port 0/],
			["address: mqtt://h", /passes nothing on/],
			[`address: mqtt://h\nversion: 4${rule}`, /"version": 4 is not right; right would be one of 5, 3\.1\.1/],
			[`address: mqtt://h\nqos: 2${rule}`, /"qos": 2 is not right; right would be a whole number from 0 to 1/],
			[`address: mqtt://h\ntls.ca: x${rule}`, /has "tls\.ca" and an address without TLS; right would be mqtts:/],
			[`address: mqtts://h\ntls.key: x${rule}`, /only one of "tls\.certificate" and "tls\.key"/],
			[`address: mqtt://h\npassword: x${rule}`, /a password and no "username"/],
			[`address: mqtt://h\nusername: u\npassword: x\npassword.file: y${rule}`, /both "password" and "password\.file"/],
			["address: mqtt://h\nin: [{ topic: a }]", /in 1: there is no "topic"/],
			["address: mqtt://h\nin: [{ local.prefix: a/ }]", /in 1: "filter" is missing/],
			[
				"address: mqtt://h\nout: [{ filter: a, order: new }]",
				/out 1: "order": "new" is not right; right would be one of oldest-first/,
			],
			["address: mqtt://h\nout: a", /"out": "a" is not right; right would be a list/],
		];
		for (const [lines, message] of cases) expect(one(lines)).toMatch(message);
		expect(problem("bridges: 5")).toMatch(/is no list/);
		expect(problem("bridges: [{ address: mqtt://h }]")).toMatch(/bridge 1: "name" is missing/);
		expect(problem('bridges: [{ name: "a b", address: mqtt://h, in: [{filter: a}] }]')).toMatch(/"name" is "a b"/);
		const same = "{ name: NAME, address: mqtt://h, client.id: c, in: [{filter: a}] }";
		expect(problem(`bridges: [${same}, ${same}]`)).toMatch(/the name "NAME" is taken/);
		expect(problem(`bridges: [${same}, ${same.replace("NAME", "b")}]`)).toMatch(/has the client\.id of NAME/);
	});

	it("never shows a password, by whatever way it came or went wrong", () => {
		const secret = "hunter2";
		const json = JSON.stringify([
			{ name: "s", address: "mqtt://h", username: "u", password: secret, in: [{ filter: "#" }] },
		]);
		const loaded = loadConfig({ set: [`bridges=${json}`] });
		expect(loaded.config.bridges[0]!.password).toBe(secret);
		const shown = showConfig(loaded) + JSON.stringify(showConfigObjects(loaded));
		expect(shown).toContain("(hidden)");
		expect(shown).not.toContain(secret);
		for (const wrong of [
			json.slice(0, -1),
			json.replace('"u"', "1"),
			json.replace(`"${secret}"`, `["${secret}"]`),
			json.replace("mqtt://h", `mqtt://u:${secret}@h`),
		]) {
			let message = "";
			try {
				loadConfig({ set: [`bridges=${wrong}`] });
			} catch (error) {
				message = (error as Error).message;
			}
			expect(message).toContain("bridges");
			expect(message).not.toContain(secret);
		}
	});
});
