/** A cluster that answers from a script, for what the client makes of its answers; time is simulated. */
import type { Cluster, RequestOptions, TopicMetadata } from "../../bridge/upstream/client/cluster.ts";
import { SimulatedClock } from "../../src/base/clock-simulated.ts";
import { SimulatedRandom } from "../../src/base/random-simulated.ts";
import { Reader } from "../../src/kafka/protocol/reader.ts";
import { type Encodable, type Fields, type Message, ZERO_UUID } from "../../src/kafka/protocol/schema.ts";
import { Writer } from "../../src/kafka/protocol/writer.ts";

interface AnyApi {
	readonly request: Message<Fields>;
	readonly response: Message<Fields>;
}

export interface Asked {
	/** "Produce" */
	readonly api: string;
	readonly version: number;
	readonly value: Record<string, unknown>;
	readonly node: number | undefined;
	readonly options: RequestOptions;
}

/** An answer's fields, or what is thrown; a promise of them comes later. */
export type Script = (asked: Asked) => object | Promise<object>;

export class ScriptedCluster {
	readonly clock = new SimulatedClock();
	readonly asked: Asked[] = [];
	readonly topics = new Map<string, TopicMetadata>();
	/** What a refresh brings; left out: nothing new. */
	onRefresh: (topics: readonly string[]) => void = () => {};
	refreshes = 0;
	forgotten = 0;
	script: Script;
	readonly options: object;

	constructor(script: Script) {
		this.script = script;
		this.options = { clock: this.clock, random: new SimulatedRandom("scripted"), requestTimeoutMs: 10_000 };
	}

	get cluster(): Cluster {
		return this as unknown as Cluster;
	}

	lead(name: string, leaders: readonly number[], errorCode = 0): void {
		this.topics.set(name, { name, id: ZERO_UUID, errorCode, leaders });
	}

	topic(name: string): TopicMetadata | undefined {
		return this.topics.get(name);
	}

	async refresh(topics: readonly string[]): Promise<void> {
		this.refreshes++;
		this.onRefresh(topics);
	}

	toNode = (node: number, api: AnyApi, value: object, options: RequestOptions) => this.#ask(api, value, options, node);
	toAny = (api: AnyApi, value: object, options: RequestOptions) => this.#ask(api, value, options);
	toLeader = (topic: string, partition: number, api: AnyApi, value: object, options: RequestOptions) =>
		this.#ask(api, value, options, this.topic(topic)?.leaders[partition]);
	toCoordinator = (_kind: string, _key: string, api: AnyApi, value: object, options: RequestOptions) =>
		this.#ask(api, value, options);

	forgetCoordinator(): void {
		this.forgotten++;
	}

	/** Through the wire's own form, so that what no version can say is seen. */
	async #ask(api: AnyApi, value: object, options: RequestOptions, node?: number) {
		const version = Math.min(options.atMost ?? Number.POSITIVE_INFINITY, api.request.maxVersion);
		const request = passed(api.request, version, value);
		const asked: Asked = { api: api.request.name.replace(/Request$/, ""), version, value: request, node, options };
		this.asked.push(asked);
		// An answer takes a moment.
		await Promise.resolve();
		return { version, body: passed(api.response, version, await this.script(asked)) };
	}

	named(api: string): Asked[] {
		return this.asked.filter((one) => one.api === api);
	}

	/** Moves time on until it is settled. */
	async finish<T>(promise: Promise<T>): Promise<T> {
		let isSettled = false;
		const settle = (): void => {
			isSettled = true;
		};
		promise.then(settle, settle);
		await this.clock.settle();
		for (let i = 0; !isSettled && i < 10_000; i++) if (!(await this.clock.advanceToNext())) break;
		if (!isSettled) throw new Error("nothing more is going to happen");
		return promise;
	}
}

function passed(message: Message<Fields>, version: number, value: object): Record<string, unknown> {
	const writer = new Writer();
	writer.int32(0);
	message.encode(writer, version, value as Encodable<Fields>);
	const bytes = Buffer.concat(writer.takeFrame());
	const reader = new Reader(bytes, 4);
	const decoded = message.decode(reader, version) as Record<string, unknown>;
	reader.end();
	return decoded;
}
