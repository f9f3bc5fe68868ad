/** Publishes a given number of numbered events at QoS 1, as fast as they are acknowledged: a backlog, or retained messages. */
import { openMany } from "./client-socket.ts";
import { NumberedPublisher } from "./numbered-publisher.ts";

export interface FillSpec {
	readonly kind: "fill";
	readonly port: number;
	readonly connections: number;
	/** Of all connections together; the same number for each. */
	readonly events: number;
	/**
	 * `split`: one topic, each `#` a digit of the event's number, 0 to `events` - 1. `each`: `backlog/dev<connection>`, sequences
	 * that begin with 0 for each connection.
	 */
	readonly topics: { readonly split: string } | "each";
	readonly retain: boolean;
	/** Of payload. */
	readonly bytes: number;
	/** Of each connection. */
	readonly window: number;
}

export interface FillResult {
	readonly events: number;
	readonly seconds: number;
	/** Processor time of this process per event, microseconds. */
	readonly ownCpuUs: number;
}

export async function runFill(
	spec: FillSpec,
	mark: (name: "begin" | "end") => void,
	failed: (error: Error) => void,
): Promise<FillResult> {
	const { port, topics, retain, bytes, window } = spec;
	const each = Math.ceil(spec.events / spec.connections);
	const publishers = await openMany(spec.connections, (number) =>
		NumberedPublisher.open({
			port,
			number,
			clientId: `fill-${process.pid}-${number}`,
			publisher: number,
			...(topics === "each"
				? { topic: `backlog/dev${number}` }
				: { topic: topics.split, firstSequence: number * each }),
			qos: 1,
			retain,
			bytes,
			window,
			failed,
		}),
	);
	const cpu = process.cpuUsage();
	const started = performance.now();
	mark("begin");
	await Promise.all(publishers.map((publisher) => publisher.run(each)));
	mark("end");
	const seconds = (performance.now() - started) / 1000;
	const used = process.cpuUsage(cpu);
	const events = each * spec.connections;
	for (const publisher of publishers) publisher.close();
	return { events, seconds, ownCpuUs: (used.user + used.system) / events };
}
