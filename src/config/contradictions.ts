/** Values that are right each for itself and cannot hold together. */
import type { Config, KeyName } from "./keys.ts";
import { tierContradictions } from "./tier-contradictions.ts";
import { upstreamContradictions } from "./upstream-contradictions.ts";
import { formatAddress } from "./values.ts";

export interface Contradiction {
	/** The key to be named; the one that was set, where the other is a default. */
	readonly keys: readonly [KeyName, KeyName];
	readonly wrong: string;
	readonly right: string;
}

const LISTENERS = ["mqtt.listen", "native.listen", "kafka.listen", "http.listen"] as const satisfies readonly KeyName[];
const ANY_HOST = ["0.0.0.0", "::"];
/** An entry's header and its padding to a block of the journal, on both sides. */
const JOURNAL_OVERHEAD_BYTES = 16_384;

export function contradictions(config: Config): Contradiction[] {
	const found: Contradiction[] = [];
	for (let i = 0; i < LISTENERS.length; i++) {
		for (let j = i + 1; j < LISTENERS.length; j++) {
			const [one, other] = [LISTENERS[i]!, LISTENERS[j]!];
			const [a, b] = [config[one], config[other]];
			const overlap = a.host === b.host || ANY_HOST.includes(a.host) || ANY_HOST.includes(b.host);
			if (a.port === 0 || a.port !== b.port || !overlap) continue;
			found.push({
				keys: [one, other],
				wrong: `${formatAddress(a)} is the port of ${other} too (${formatAddress(b)})`,
				right: "a port of its own for each, or 0 for a free one",
			});
		}
	}
	const atMost = (key: KeyName, limitKey: KeyName, limit: number, why: string) => {
		const value = config[key] as number;
		if (value <= limit) return;
		found.push({
			keys: [key, limitKey],
			wrong: `${value} is more than ${limitKey} (${config[limitKey]}) lets: ${why}`,
			right: `at most ${limit}, or a larger ${limitKey}`,
		});
	};
	atMost(
		"group.min.session.timeout.ms",
		"group.max.session.timeout.ms",
		config["group.max.session.timeout.ms"],
		"no member of a consumer group could join",
	);
	atMost(
		"message.max.bytes",
		"journal.file.bytes",
		config["journal.file.bytes"] - JOURNAL_OVERHEAD_BYTES,
		"a commit has to fit one journal file",
	);
	atMost(
		"message.max.bytes",
		"log.segment.bytes",
		config["log.segment.bytes"],
		"a record batch has to fit one segment",
	);
	atMost(
		"message.max.bytes",
		"memory.budget.bytes",
		config["memory.budget.bytes"],
		"a record batch has to fit the budget",
	);
	atMost(
		"mqtt.max.packet.bytes",
		"message.max.bytes",
		config["message.max.bytes"],
		"a packet that large could not be stored",
	);
	atMost(
		"native.max.frame.bytes",
		"memory.budget.bytes",
		config["memory.budget.bytes"],
		"a frame has to fit the budget",
	);
	atMost(
		"message.max.bytes",
		"native.max.frame.bytes",
		config["native.max.frame.bytes"],
		"a record batch has to fit a frame",
	);
	atMost(
		"message.max.bytes",
		"socket.request.max.bytes",
		config["socket.request.max.bytes"],
		"a record batch has to fit a request",
	);
	if (config["log.retention.bytes"] !== -1 && config["log.retention.bytes"] < config["log.segment.bytes"]) {
		found.push({
			keys: ["log.retention.bytes", "log.segment.bytes"],
			wrong: `${config["log.retention.bytes"]} is less than one segment (log.segment.bytes ${config["log.segment.bytes"]}), and only whole segments are removed`,
			right: "at least log.segment.bytes, or smaller segments",
		});
	}
	const retentionMs = config["log.retention.ms"];
	if (retentionMs !== -1 && retentionMs < config["log.retention.check.interval.ms"]) {
		found.push({
			keys: ["log.retention.ms", "log.retention.check.interval.ms"],
			wrong: `${retentionMs} is less than the time between two looks (log.retention.check.interval.ms ${config["log.retention.check.interval.ms"]})`,
			right: "a shorter log.retention.check.interval.ms, or longer retention",
		});
	}
	return [...found, ...tierContradictions(config), ...upstreamContradictions(config)];
}
