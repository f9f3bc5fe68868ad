/** From the configuration to what replication to the central cluster needs. */
import type { ConfiguredUpstream } from "../../bridge/upstream/on-demand.ts";
import type { Disk } from "../base/disk.ts";
import { readSecret } from "../base/small-file.ts";
import type { Config } from "../config/keys.ts";
import { parseServers } from "../config/upstream-servers.ts";
import { gatewayId } from "./object-store-options.ts";
import { VERSION } from "./version.ts";

/** undefined: there is no central cluster. */
export function upstreamOptions(config: Config, disk: Disk): (() => Promise<ConfiguredUpstream>) | undefined {
	const servers = parseServers(config["upstream.bootstrap.servers"]);
	if (servers.length === 0) return undefined;
	return async () => {
		const { tcpDial } = await import("../../bridge/upstream/client/tcp.ts");
		const name = gatewayId(config);
		return {
			gatewayId: name,
			version: VERSION,
			servers,
			dial: tcpDial({ tls: tlsOf(config) }, disk),
			sasl: saslOf(config, disk),
			mode: config["upstream.mode"],
			topics: config["upstream.topics"],
			downlink: config["upstream.downlink"],
			codec: config["upstream.compression.type"],
			level: config["upstream.compression.type"] === "zstd" ? config["upstream.compression.level"] : undefined,
			lingerMs: config["upstream.linger.ms"],
			batchBytes: config["upstream.batch.bytes"],
			transactionBytes: config["upstream.transaction.bytes"],
			transactionTimeoutMs: config["upstream.transaction.timeout.ms"],
			requestTimeoutMs: config["upstream.request.timeout.ms"],
			window: config["upstream.window"],
			createTopics: config["upstream.create.topics"] === "true",
			replicationFactor: config["upstream.replication.factor"],
			partitions: config["upstream.partitions"],
			progressTopic: config["upstream.progress.topic"],
			progressPartitions: config["upstream.progress.partitions"],
			transactionalId: given(config["upstream.transactional.id"]) ?? `headwater-${name}`,
			quarantineTopic: config["upstream.quarantine.topic"],
			holdFreeBytes: config["upstream.hold.free.bytes"],
		};
	};
}

function given(text: string): string | undefined {
	return text === "" ? undefined : text;
}

function tlsOf(config: Config): Parameters<typeof import("../../bridge/upstream/client/tcp.ts").tcpDial>[0]["tls"] {
	if (!config["upstream.security.protocol"].endsWith("SSL")) return undefined;
	return {
		ca: given(config["upstream.tls.ca"]),
		certificate: given(config["upstream.tls.certificate"]),
		key: given(config["upstream.tls.key"]),
		serverName: given(config["upstream.tls.server.name"]),
		insecure: config["upstream.tls.insecure"] === "true",
	};
}

function saslOf(config: Config, disk: Disk): ConfiguredUpstream["sasl"] {
	if (!config["upstream.security.protocol"].startsWith("SASL")) return undefined;
	const file = given(config["upstream.sasl.secret.file"]);
	return {
		mechanism: config["upstream.sasl.mechanism"],
		username: config["upstream.sasl.username"],
		password: () => (file === undefined ? config["upstream.sasl.password"] : readSecret(disk, file)),
	};
}
