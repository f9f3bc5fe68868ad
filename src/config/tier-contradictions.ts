/** What of tiered storage's settings cannot hold together. */
import type { Contradiction } from "./contradictions.ts";
import type { Config, KeyName } from "./keys.ts";

/** Of S3 alone. The first that is set is told. */
const S3_KEYS = [
	"objectStore.endpoint",
	"objectStore.region",
	"objectStore.access.key",
	"objectStore.secret.key",
	"objectStore.session.token",
	"objectStore.credentials.file",
	"objectStore.profile",
	"objectStore.ca.file",
] as const satisfies readonly KeyName[];

export function tierContradictions(config: Config): Contradiction[] {
	return [...ofStore(config), ...ofCredentials(config), ...ofLocalRetention(config), ...ofCache(config)];
}

function ofStore(config: Config): Contradiction[] {
	const url = config["objectStore.url"];
	const endpoint = config["objectStore.endpoint"];
	if (!url.startsWith("s3://")) {
		const key = S3_KEYS.find((name) => config[name] !== "");
		if (key === undefined) return [];
		const place = url === "" ? "the store is a folder in the data directory" : `${url} is a folder`;
		return [
			{
				keys: [key, "objectStore.url"],
				wrong: `is of S3, and ${place} (objectStore.url)`,
				right: "objectStore.url s3://bucket or s3://bucket/prefix too, or neither",
			},
		];
	}
	if (config["objectStore.ca.file"] !== "" && endpoint.startsWith("http://")) {
		return [
			{
				keys: ["objectStore.ca.file", "objectStore.endpoint"],
				wrong: `is for TLS, and ${endpoint} (objectStore.endpoint) has none`,
				right: "an endpoint that begins with https://, or no objectStore.ca.file",
			},
		];
	}
	if (config["objectStore.addressing"] === "virtual" && /^https?:\/\/(\[|[\d.]+(:|\/|$))/.test(endpoint)) {
		return [
			{
				keys: ["objectStore.addressing", "objectStore.endpoint"],
				wrong: `virtual puts the bucket's name before the host's, and ${endpoint} (objectStore.endpoint) is an address`,
				right: "path or auto, or an endpoint with a name",
			},
		];
	}
	return [];
}

function ofCredentials(config: Config): Contradiction[] {
	const missing = (given: KeyName, other: KeyName): Contradiction => ({
		keys: [given, other],
		wrong: `is given without ${other}`,
		right: "both, or neither for those of the environment or a credentials file",
	});
	const has = (key: KeyName): boolean => config[key] !== "";
	if (has("objectStore.secret.key") && !has("objectStore.access.key"))
		return [missing("objectStore.secret.key", "objectStore.access.key")];
	if (has("objectStore.access.key") && !has("objectStore.secret.key"))
		return [missing("objectStore.access.key", "objectStore.secret.key")];
	if (has("objectStore.session.token") && !has("objectStore.access.key"))
		return [missing("objectStore.session.token", "objectStore.access.key")];
	return [];
}

/** Where every topic is tiered that does not say otherwise; of one topic's own settings the catalog says the same. */
function ofLocalRetention(config: Config): Contradiction[] {
	if (config["log.remote.storage.enable"] === "false" || !config["log.cleanup.policy"].includes("delete")) return [];
	const found: Contradiction[] = [];
	for (const [local, whole] of [
		["log.local.retention.ms", "log.retention.ms"],
		["log.local.retention.bytes", "log.retention.bytes"],
	] as const) {
		const [here, all] = [config[local], config[whole]];
		if (here === -2 || all === -1 || (here !== -1 && here <= all)) continue;
		found.push({
			keys: [local, whole],
			wrong: `${here} is ${here === -1 ? "without end and so more" : "more"} than what is kept at all (${whole} ${all})`,
			right: `at most ${all}, -2 for the same, or a larger ${whole}`,
		});
	}
	return found;
}

function ofCache(config: Config): Contradiction[] {
	// One window that is read and one that is read ahead, of a few readers.
	const least = config["tier.read.window.bytes"] * 4;
	if (config["tier.cache.bytes"] === 0 || config["tier.cache.bytes"] >= least) return [];
	return [
		{
			keys: ["tier.cache.bytes", "tier.read.window.bytes"],
			wrong: `${config["tier.cache.bytes"]} has no room for four reads (tier.read.window.bytes ${config["tier.read.window.bytes"]})`,
			right: `at least ${least}, or a smaller tier.read.window.bytes`,
		},
	];
}
