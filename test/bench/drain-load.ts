/**
 * Persistent sessions come back all at once and take what waits for them, acknowledging as fast as they read. The numbers
 * in the events tell that none of what came so far is missing, repeated, or out of order.
 */
import { openMany } from "./client-socket.ts";
import { Subscriber } from "./subscriber.ts";

export interface DrainSpec {
	readonly kind: "drain";
	readonly port: number;
	/** Named as hold-load.ts named them. */
	readonly name: string;
	readonly sessions: number;
	/** Of the events that wait. */
	readonly publishers: number;
	/** The first ones, that are counted by themselves. */
	readonly seconds: number;
	/** It ends when every session has that many events. */
	readonly eventsEach: number;
}

export interface DrainResult {
	/** From the first CONNECT on. */
	readonly first: { readonly deliveries: number; readonly seconds: number };
	readonly overall: { readonly deliveries: number; readonly seconds: number };
	/** Processor time of this process per delivery, microseconds. */
	readonly ownCpuUs: number;
	/** Of one session, when the first seconds were over. */
	readonly leastEach: number;
	readonly mostEach: number;
	/** When all sessions had their first event. */
	readonly firstEventMs: number;
}

/** That long without any event: something is missing. */
const STALLED_MS = 20_000;
const POLL_MS = 20;

export async function runDrain(
	spec: DrainSpec,
	mark: (name: "begin" | "end") => void,
	failed: (error: Error) => void,
): Promise<DrainResult> {
	const cpu = process.cpuUsage();
	const started = performance.now();
	mark("begin");
	const subscribers: Subscriber[] = [];
	const opening = openMany(spec.sessions, async (number) => {
		const { port, name, publishers } = spec;
		const clientId = `${name}-${number}`;
		subscribers.push(await Subscriber.open({ port, number, clientId, clean: false, publishers, failed }));
	});
	opening.catch(failed);
	const counts = (): number[] => subscribers.map(({ events }) => events);
	const sum = (): number => subscribers.reduce((total, { events }) => total + events, 0);
	let first: DrainResult["first"] | undefined;
	let [leastEach, mostEach, firstEventMs] = [0, 0, 0];
	let last = { deliveries: 0, at: started };
	for (;;) {
		await new Promise((resolve) => setTimeout(resolve, POLL_MS));
		const now = performance.now();
		const deliveries = sum();
		const least = subscribers.length < spec.sessions ? 0 : Math.min(...counts());
		if (firstEventMs === 0 && least > 0) firstEventMs = now - started;
		const done = least >= spec.eventsEach;
		if (first === undefined && (done || now - started >= spec.seconds * 1000)) {
			first = { deliveries, seconds: (now - started) / 1000 };
			[leastEach, mostEach] = [least, Math.max(0, ...counts())];
		}
		if (done && first !== undefined) {
			mark("end");
			const used = process.cpuUsage(cpu);
			const duplicates = subscribers.reduce((total, subscriber) => total + subscriber.duplicates, 0);
			if (duplicates > 0) throw new Error(`${duplicates} events came twice over one connection`);
			const overall = { deliveries, seconds: (now - started) / 1000 };
			const ownCpuUs = (used.user + used.system) / deliveries;
			return { first, overall, ownCpuUs, leastEach, mostEach, firstEventMs };
		}
		if (deliveries > last.deliveries) last = { deliveries, at: now };
		else if (now - last.at > STALLED_MS) {
			throw new Error(`nothing more came after ${deliveries} deliveries; a session has ${least} of ${spec.eventsEach}`);
		}
	}
}
