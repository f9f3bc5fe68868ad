import { describe, expect, it } from "vitest";
import { configAsText } from "../../../src/config/as-text.ts";
import { configJsonSchema } from "../../../src/config/json-schema.ts";
import { KEY_NAMES } from "../../../src/config/keys.ts";
import { type ConfigSources, loadConfig } from "../../../src/config/load.ts";
import { ConfigError } from "../../../src/config/problems.ts";
import { showConfig, showConfigObjects } from "../../../src/config/show.ts";
import { readYaml } from "../../../src/config/yaml-file.ts";

const S3 = "objectStore.url=s3://bucket/gateways";

function told(sources: ConfigSources): string {
	try {
		loadConfig(sources);
	} catch (error) {
		if (error instanceof ConfigError) return error.message;
		throw error;
	}
	throw new Error("it was taken");
}

describe("objectStore.url", () => {
	it.each([
		"s3://bucket",
		"s3://bucket/",
		"s3://my.bucket-1/a/b_c.d",
		"file:///mnt/usb",
		"file:///mnt/usb stick/x",
		"",
	])("takes %j", (url) => {
		expect(loadConfig({ set: [`objectStore.url=${url}`] }).config["objectStore.url"]).toBe(url);
	});

	it.each([
		["s3:bucket", "is not of the right form; right would be s3://bucket, s3://bucket/prefix or file:///folder"],
		["s3://", "has no name of a bucket in it"],
		["s3://ab", "has no name of a bucket in it: 3 to 63"],
		["s3://Bucket", "has no name of a bucket in it"],
		["s3://a..b", "has no name of a bucket in it"],
		["s3://192.168.1.10/x", "has no name of a bucket in it"],
		["s3://bucket/../x", "has a prefix that is none"],
		["s3://bucket//x", "has a prefix that is none"],
		["s3://bucket/a b", "has a prefix that is none"],
		["https://s3.example.com/bucket", "belongs in objectStore.endpoint"],
		["/mnt/usb", "a folder is file:// with an absolute path behind it"],
		["file://mnt/usb", "three slashes, as file:///mnt/usb"],
		["file:mnt", "three slashes"],
		["gs://bucket", "is not of the right form"],
	])("refuses %s: %s", (url, why) => {
		expect(told({ set: [`objectStore.url=${url}`] })).toContain(why);
	});

	it("has the same form in the JSON Schema", () => {
		const schema = configJsonSchema() as { $defs: Record<string, { pattern: string }> };
		const pattern = new RegExp(schema.$defs["objectStore.url"]!.pattern);
		for (const url of ["", "s3://bucket/a", "file:///x"]) expect(url).toMatch(pattern);
		for (const url of ["s3://a..b", "s3://bucket/../x", "file://x"]) expect(url).not.toMatch(pattern);
	});
});

describe("the other keys of tiered storage", () => {
	it.each([
		["gateway.id=.hidden", "the first no dot"],
		["gateway.id=a/b", "1 to 64 of letters"],
		[`gateway.id=${"x".repeat(65)}`, "1 to 64 of letters"],
		["objectStore.endpoint=s3.example.com", "right would be https://host or https://host:port"],
		["objectStore.endpoint=https://s3.example.com/bucket", "bucket and prefix belong in objectStore.url"],
		["objectStore.addressing=host", "one of auto, path, virtual"],
		["objectStore.part.bytes=1MiB", "from 5242880 to 67108864"],
		["objectStore.timeout.ms=5", "too small"],
		["objectstore.url=s3://bucket", "did you mean objectStore.url?"],
		["log.local.retention.ms=-3", "too small; right would be a whole number of milliseconds"],
		["log.local.retention.ms=-3", "or -1 (for ever), or -2 (as retention.ms)"],
		["log.retention.ms=-2", "too small"],
	])("--set %s is refused: %s", (set, why) => {
		expect(told({ set: [set] })).toContain(why);
	});

	it("are nested in YAML and have variables as any key", () => {
		const content = readYaml("objectStore:\n  url: s3://bucket\n  part.bytes: 16MiB\n");
		const { config } = loadConfig({
			file: { name: "h.yaml", content },
			environment: { HEADWATER_OBJECTSTORE_REGION: "eu-west-1", HEADWATER_LOG_LOCAL_RETENTION_MS: "-2" },
		});
		expect(config["objectStore.url"]).toBe("s3://bucket");
		expect(config["objectStore.part.bytes"]).toBe(16_777_216);
		expect(config["objectStore.region"]).toBe("eu-west-1");
		expect(config["log.local.retention.ms"]).toBe(-2);
	});
});

describe("what cannot hold together", () => {
	it.each([
		[["objectStore.endpoint=http://h:9000"], "the store is a folder in the data directory (objectStore.url)"],
		[["objectStore.url=file:///x", "objectStore.profile=p"], "is of S3, and file:///x is a folder (objectStore.url)"],
		[[S3, "objectStore.access.key=a"], "is given without objectStore.secret.key"],
		[[S3, "objectStore.secret.key=s"], "is given without objectStore.access.key"],
		[[S3, "objectStore.session.token=t"], "is given without objectStore.access.key"],
		[[S3, "objectStore.endpoint=http://h", "objectStore.ca.file=ca.pem"], "is for TLS, and http://h"],
		[
			[S3, "objectStore.endpoint=http://10.0.0.1:9000", "objectStore.addressing=virtual"],
			"virtual puts the bucket's name before the host's, and http://10.0.0.1:9000 (objectStore.endpoint) is an address",
		],
		[
			["log.remote.storage.enable=true", "log.local.retention.ms=30d"],
			"2592000000 is more than what is kept at all (log.retention.ms 604800000)",
		],
		[["log.remote.storage.enable=true", "log.local.retention.ms=-1"], "-1 is without end"],
		[
			["log.remote.storage.enable=true", "log.retention.bytes=1GiB", "log.local.retention.bytes=2GiB"],
			"more than what is kept at all (log.retention.bytes 1073741824)",
		],
		[["tier.read.window.bytes=16MiB", "tier.cache.bytes=1MiB"], "has no room for four reads"],
	])("%j: %s", (set, why) => {
		expect(told({ set })).toContain(why);
	});

	it.each([
		[[S3, "objectStore.access.key=a", "objectStore.secret.key=s", "objectStore.session.token=t"]],
		[[S3, "objectStore.endpoint=https://h", "objectStore.ca.file=ca.pem"]],
		[[S3, "objectStore.endpoint=http://10.0.0.1:9000", "objectStore.addressing=path"]],
		// No topic is tiered by it: each says its own.
		[["log.local.retention.ms=30d"]],
		[["tier.cache.bytes=0"]],
		[["log.remote.storage.enable=true", "log.local.retention.ms=1h"]],
		[["log.remote.storage.enable=true", "log.local.retention.ms=30d", "log.retention.ms=-1"]],
		[["log.remote.storage.enable=true", "log.local.retention.ms=30d", "log.cleanup.policy=compact"]],
	])("%j is taken", (set) => {
		expect(() => loadConfig({ set })).not.toThrow();
	});
});

describe("secrets", () => {
	const secret = "hunter2";

	it("are used and never shown", () => {
		const set = [
			S3,
			"objectStore.access.key=a",
			`objectStore.secret.key=${secret}`,
			`objectStore.session.token=${secret}`,
		];
		const loaded = loadConfig({ set });
		expect(loaded.config["objectStore.secret.key"]).toBe(secret);
		const shown = showConfig(loaded) + JSON.stringify(showConfigObjects(loaded));
		expect(shown).toContain('objectStore.secret.key: "(hidden)"  # --set objectStore.secret.key=...');
		expect(shown).not.toContain(secret);
		const forKafka = configAsText(loaded.config, "");
		expect(JSON.stringify(forKafka)).not.toContain(secret);
		const withheld = KEY_NAMES.filter((key) => !Object.hasOwn(forKafka, key));
		const secrets = ["objectStore.secret.key", "objectStore.session.token", "upstream.sasl.password"];
		expect(withheld).toEqual(expect.arrayContaining([...secrets, "routes", "bridges"]));
		expect(withheld).toHaveLength(secrets.length + 4);
	});

	it("show that they are not set", () => {
		expect(showConfig(loadConfig())).toContain('objectStore.secret.key: ""  # default');
	});

	it.each([
		[{ set: [`objectStore.secret.key=${secret}`] }],
		[{ set: [`objectStore.secretkey=${secret}`] }],
		[{ set: [`objectStore.secret=${secret}`] }],
		[{ set: [`s3.password=${secret}`] }],
		[{ set: [`secret.key=${secret}`] }],
		[{ set: [`objectStore.url=s3://key:${secret}@bucket`] }],
		[{ set: [`objectStore.endpoint=https://key:${secret}@host`] }],
		[{ environment: { HEADWATER_OBJECTSTORE_SECRET_KEY: secret } }],
		[{ environment: { HEADWATER_OBJECTSTORE_SECRET: secret } }],
		[{ file: { name: "h.yaml", content: readYaml(`objectStore.secret.key: [${secret}]\n`) } }],
		[{ file: { name: "h.yaml", content: readYaml(`objectStore: {secret.key: {a: ${secret}}}\n`) } }],
		[{ file: { name: "h.yaml", content: readYaml(`objectStore: {endpoint: "http://a:${secret}@h"}\n`) } }],
	] as [ConfigSources][])("are in no message: %j", (sources) => {
		expect(told(sources)).not.toContain(secret);
	});

	it("are in no message as a number", () => {
		const content = readYaml("objectStore.secret.key: 12345678\n");
		expect(told({ file: { name: "h.yaml", content } })).toBe(
			"h.yaml:1: objectStore.secret.key: is a number; right would be text; a number needs quotes",
		);
	});
});
