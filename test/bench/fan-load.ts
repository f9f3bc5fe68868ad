/**
 * Fan-out and fan-in, in one process: numbered publishers, and subscribers that get every event of all of them. Closed loop: a
 * publisher has at most its window under way, counted until its events are delivered, so no broker is flooded into dropping
 * events or into a backlog. At the end every event has to have come to every subscriber, in order.
 */
import { openMany } from "./client-socket.ts";
import { NumberedPublisher } from "./numbered-publisher.ts";
import { Subscriber } from "./subscriber.ts";

export interface FanSpec {
	readonly kind: "fan";
	readonly port: number;
	readonly publishers: number;
	readonly subscribers: number;
	/** Of publishes and subscriptions. */
	readonly qos: 0 | 1;
	/** Of each publisher. */
	readonly window: number;
	/** Of payload. */
	readonly bytes: number;
	readonly warmupSeconds: number;
	/** That count. */
	readonly seconds: number;
}

export interface FanResult {
	/** In the time that counts. */
	readonly deliveries: number;
	readonly seconds: number;
	/** Processor time of this process per delivery, microseconds. */
	readonly ownCpuUs: number;
	/** Over the whole run. */
	readonly published: number;
}

const LAST_DELIVERIES_MS = 30_000;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function runFan(
	spec: FanSpec,
	mark: (name: "begin" | "end") => void,
	failed: (error: Error) => void,
): Promise<FanResult> {
	const { port, qos, window, bytes } = spec;
	let publishers: NumberedPublisher[] = [];
	let delivered = 0;
	let stopping = false;
	/** Deliveries by publisher, and those whose share has grown since they last sent. */
	const deliveredOf = new Uint32Array(spec.publishers);
	const touched: number[] = [];
	const isTouched = new Uint8Array(spec.publishers);

	/** A publisher may send what all subscribers together have taken, on average, or QoS 1 has been answered, if less. */
	const sendMore = (index: number): void => {
		const publisher = publishers[index];
		if (publisher === undefined || stopping) return;
		const taken = Math.floor((deliveredOf[index] as number) / spec.subscribers);
		const done = qos === 0 ? taken : Math.min(taken, publisher.acknowledged);
		const room = window - (publisher.sent - done);
		if (room * 4 >= window && room > 0) publisher.send(room);
	};
	const subscribers = await openMany(spec.subscribers, (number) =>
		Subscriber.open({
			port,
			number,
			clientId: `fan-s${process.pid}-${number}`,
			publishers: spec.publishers,
			onEvent: (publisher) => {
				delivered++;
				deliveredOf[publisher] = (deliveredOf[publisher] as number) + 1;
				if (isTouched[publisher] === 1) return;
				isTouched[publisher] = 1;
				touched.push(publisher);
			},
			onRead: () => {
				for (const publisher of touched) {
					isTouched[publisher] = 0;
					sendMore(publisher);
				}
				touched.length = 0;
			},
			failed,
		}),
	);
	await Promise.all(subscribers.map((subscriber) => subscriber.subscribe(["fan/+/telemetry"], qos)));
	publishers = await openMany(spec.publishers, (number) =>
		NumberedPublisher.open({
			port,
			number: spec.subscribers + number,
			clientId: `fan-p${process.pid}-${number}`,
			publisher: number,
			topic: `fan/dev${number}/telemetry`,
			qos,
			bytes,
			window,
			onAcknowledged: () => sendMore(number),
			failed,
		}),
	);
	for (const index of publishers.keys()) sendMore(index);
	await sleep(spec.warmupSeconds * 1000);
	const from = delivered;
	const cpu = process.cpuUsage();
	const started = performance.now();
	mark("begin");
	await sleep(spec.seconds * 1000);
	const deliveries = delivered - from;
	mark("end");
	const seconds = (performance.now() - started) / 1000;
	const used = process.cpuUsage(cpu);
	stopping = true;
	const published = publishers.reduce((sum, { sent }) => sum + sent, 0);
	const deadline = performance.now() + LAST_DELIVERIES_MS;
	while (delivered < published * spec.subscribers) {
		if (performance.now() > deadline) {
			throw new Error(
				`${published * spec.subscribers - delivered} of ${published * spec.subscribers} deliveries are missing`,
			);
		}
		await sleep(10);
	}
	return { deliveries, seconds, ownCpuUs: (used.user + used.system) / Math.max(1, deliveries), published };
}
