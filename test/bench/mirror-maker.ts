/** MirrorMaker 2 with its defaults, in its own process as Kafka's program starts it: from one cluster to another, one way. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { KIT } from "./kafka-targets.ts";
import type { Workplace } from "./workplace.ts";

export interface MirrorMaker {
	readonly pid: number;
	/** The name that a topic has there. */
	nameOf(topic: string): string;
	stop(): Promise<void>;
}

/** Names the clusters and the topics, and that there is one broker in each; all else is as it comes. */
export function startMirrorMaker(
	workplace: Workplace,
	{ from, to, topics }: { from: string; to: string; topics: string },
): MirrorMaker {
	const lines = [
		"clusters=edge,center",
		`edge.bootstrap.servers=${from}`,
		`center.bootstrap.servers=${to}`,
		"edge->center.enabled=true",
		`edge->center.topics=${topics}`,
		...[
			"checkpoints.topic",
			"heartbeats.topic",
			"offset-syncs.topic",
			"offset.storage",
			"status.storage",
			"config.storage",
		].map((name) => `${name}.replication.factor=1`),
		"replication.factor=1",
	];
	const file = path.join(workplace.folder("mirror-maker"), "mm2.properties");
	fs.writeFileSync(file, `${lines.join("\n")}\n`);
	const child = workplace.adopt(
		spawn(path.join(KIT, "kafka-cli"), ["mirror-maker", file], { stdio: ["ignore", "ignore", "ignore"] }),
	);
	return {
		pid: child.pid as number,
		nameOf: (topic) => `edge.${topic}`,
		async stop() {
			if (child.exitCode !== null || child.signalCode !== null) return;
			child.kill("SIGKILL");
			await once(child, "exit");
		},
	};
}
