/** What of upstream's settings cannot hold together. */
import { fitsTopic } from "../base/topic-pattern.ts";
import type { Contradiction } from "./contradictions.ts";
import type { Config, KeyName } from "./keys.ts";
import { parseServers } from "./upstream-servers.ts";
import { formatAddress } from "./values.ts";

const TLS_KEYS = [
	"upstream.tls.ca",
	"upstream.tls.certificate",
	"upstream.tls.key",
	"upstream.tls.server.name",
] as const satisfies readonly KeyName[];

export function upstreamContradictions(config: Config): Contradiction[] {
	return [
		...ofServers(config),
		...ofLogin(config),
		...ofTls(config),
		...ofSizes(config),
		...ofOwnTopics(config),
		...ofLoops(config),
	];
}

function ofServers(config: Config): Contradiction[] {
	const servers = parseServers(config["upstream.bootstrap.servers"]);
	const rules = (["upstream.topics", "upstream.downlink"] as const).filter((key) => config[key].length > 0);
	if (servers.length === 0) {
		return rules.map((key) => ({
			keys: [key, "upstream.bootstrap.servers"],
			wrong: "says what passes, and no central cluster is named (upstream.bootstrap.servers)",
			right: "upstream.bootstrap.servers too, as kafka1.example.com:9092",
		}));
	}
	if (rules.length === 0) {
		return [
			{
				keys: ["upstream.bootstrap.servers", "upstream.topics"],
				wrong: "names a central cluster, and nothing goes there (upstream.topics) or comes from it (upstream.downlink)",
				right: "upstream.topics too, as upstream.topics: telemetry, alarms",
			},
		];
	}
	const own = config["kafka.listen"];
	const self = servers.find(({ host, port }) => port === own.port && (isLoopback(host) || host === own.host));
	if (self === undefined) return [];
	return [
		{
			keys: ["upstream.bootstrap.servers", "kafka.listen"],
			wrong: `${formatAddress(self)} is this gateway's own Kafka door (kafka.listen ${formatAddress(own)})`,
			right: "the central cluster's address, or another port in kafka.listen",
		},
	];
}

function isLoopback(host: string): boolean {
	return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function ofLogin(config: Config): Contradiction[] {
	const protocol = config["upstream.security.protocol"];
	const has = (key: KeyName): boolean => config[key] !== "";
	const [password, file] = ["upstream.sasl.password", "upstream.sasl.secret.file"] as const;
	if (!protocol.startsWith("SASL_")) {
		const key = (["upstream.sasl.username", password, file] as const).find(has);
		if (key === undefined) return [];
		return [
			{
				keys: [key, "upstream.security.protocol"],
				wrong: `is for a login, and ${protocol} (upstream.security.protocol) has none`,
				right:
					protocol === "SSL" ? "SASL_SSL in upstream.security.protocol" : "SASL_SSL, or SASL_PLAINTEXT without TLS",
			},
		];
	}
	if (has(password) && has(file)) {
		return [{ keys: [password, file], wrong: "is given, and upstream.sasl.secret.file too", right: "one of the two" }];
	}
	const missing = !has("upstream.sasl.username") ? "upstream.sasl.username" : undefined;
	const missed = missing ?? (has(password) || has(file) ? undefined : file);
	if (missed === undefined) return [];
	return [
		{
			keys: ["upstream.security.protocol", missed],
			wrong: `${protocol} needs a login, and there is no ${missed === file ? "password" : "user name"}`,
			right: "upstream.sasl.username, and upstream.sasl.password or upstream.sasl.secret.file",
		},
	];
}

function ofTls(config: Config): Contradiction[] {
	const protocol = config["upstream.security.protocol"];
	const [certificate, key] = ["upstream.tls.certificate", "upstream.tls.key"] as const;
	if (!protocol.endsWith("SSL")) {
		const insecure = config["upstream.tls.insecure"] === "true";
		const given = TLS_KEYS.find((name) => config[name] !== "") ?? (insecure ? "upstream.tls.insecure" : undefined);
		if (given === undefined) return [];
		return [
			{
				keys: [given, "upstream.security.protocol"],
				wrong: `is for TLS, and ${protocol} (upstream.security.protocol) has none`,
				right: `${protocol === "PLAINTEXT" ? "SSL" : "SASL_SSL"} in upstream.security.protocol`,
			},
		];
	}
	if ((config[certificate] === "") === (config[key] === "")) return [];
	const [given, other] = config[key] === "" ? ([certificate, key] as const) : ([key, certificate] as const);
	return [{ keys: [given, other], wrong: `is given without ${other}`, right: "both or none" }];
}

function ofSizes(config: Config): Contradiction[] {
	const [batch, transaction] = [config["upstream.batch.bytes"], config["upstream.transaction.bytes"]];
	if (batch <= transaction) return [];
	return [
		{
			keys: ["upstream.batch.bytes", "upstream.transaction.bytes"],
			wrong: `${batch} is more than upstream.transaction.bytes (${transaction}), in which it has to fit`,
			right: `at most ${transaction}, or a larger upstream.transaction.bytes`,
		},
	];
}

/** Progress is not for records; what the cluster refused and is kept would be refused, and kept, again and again. */
function ofOwnTopics(config: Config): Contradiction[] {
	const found: Contradiction[] = [];
	const progress = config["upstream.progress.topic"];
	const quarantine = config["upstream.quarantine.topic"];
	for (const { topic, to } of config["upstream.topics"]) {
		if (fitsTopic(topic, quarantine)) {
			found.push({
				keys: ["upstream.topics", "upstream.quarantine.topic"],
				wrong: `${topic} sends ${quarantine} (upstream.quarantine.topic), which has what the central cluster refused`,
				right: "no rule for it, or another name in upstream.quarantine.topic",
			});
		}
		if (!topic.includes("*") && there(to, topic, config) === progress) {
			found.push({
				keys: ["upstream.topics", "upstream.progress.topic"],
				wrong: `${topic} goes to ${progress}, which is the gateways' own (upstream.progress.topic)`,
				right: "another name in to",
			});
		}
	}
	return found;
}

/** What comes down, is sent up again and so comes down again would never end. */
function ofLoops(config: Config): Contradiction[] {
	const rules = config["upstream.downlink"];
	const onward = (local: string): readonly string[] => {
		const up = config["upstream.topics"].find(({ topic }) => fitsTopic(topic, local));
		if (up === undefined) return [];
		const central = there(up.to, local, config);
		return rules.filter(({ topic }) => topic === central).map(({ to }) => to);
	};
	for (const { to } of rules) {
		const reached = new Set<string>();
		const ahead = [...onward(to)];
		for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
			if (reached.has(next)) continue;
			reached.add(next);
			ahead.push(...onward(next));
		}
		if (!reached.has(to)) continue;
		const up = config["upstream.topics"].find(({ topic }) => fitsTopic(topic, to))!;
		return [
			{
				keys: ["upstream.downlink", "upstream.topics"],
				wrong: `${to} comes from the central cluster, and upstream.topics (${up.topic}) sends it there again: a loop without end`,
				right: "another name in to, or rules in upstream.topics that leave it out",
			},
		];
	}
	return [];
}

/** Where `gateway.id` is empty, the host's name is not known here: a name with it is no other topic's. */
function there(to: string, topic: string, config: Config): string {
	return to.replaceAll("{gateway}", config["gateway.id"] || "{gateway}").replaceAll("{topic}", topic);
}
