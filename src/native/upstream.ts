/** The requests about the central cluster: how it stands, wait, go on, and go on elsewhere. */
import { BrokerError } from "../base/errors.ts";
import type { UpstreamAdmin, UpstreamResetStep, UpstreamStatus } from "../broker/upstream-admin.ts";
import { withoutUndefined } from "./answers.ts";
import type { GatewayStatus } from "./client/types.ts";
import { RESET_TO } from "./codec/protocol.ts";
import type { Body } from "./codec/requests.ts";
import type { CborValue } from "./codec/writer.ts";

type Fields = ReadonlyMap<number, CborValue>;
type Summary = NonNullable<GatewayStatus["upstream"]>;

const NOTHING: Fields = new Map();

export class UpstreamRequests {
	readonly #admin: UpstreamAdmin | undefined;

	constructor(admin: UpstreamAdmin | undefined) {
		this.#admin = admin;
	}

	/** For the status of the whole gateway: nothing where no central cluster is configured. */
	async summary(): Promise<Pick<GatewayStatus, "upstream">> {
		if (this.#admin?.isConfigured !== true) return {};
		return { upstream: summaryOf(await this.#admin.status()) };
	}

	async status(): Promise<Fields> {
		return new Map<number, CborValue>([[0, withoutUndefined(await this.#need().status())]]);
	}

	async pause(): Promise<Fields> {
		await this.#need().pause();
		return NOTHING;
	}

	async resume(): Promise<Fields> {
		await this.#need().resume();
		return NOTHING;
	}

	async reset(body: Body): Promise<Fields> {
		const steps = await this.#need().reset({
			to: RESET_TO[body.get(0) as number]!,
			topic: body.get(1) as string | undefined,
			dryRun: body.get(2) !== true,
		});
		return new Map<number, CborValue>([[0, steps.map(stepItem)]]);
	}

	#need(): UpstreamAdmin {
		if (this.#admin?.isConfigured === true) return this.#admin;
		throw new BrokerError(
			"INVALID_CONFIG",
			"this gateway has no central cluster: upstream.bootstrap.servers and upstream.topics name one and what goes there",
		);
	}
}

function summaryOf({ servers, state, nextMs, lastSentMs, problem, topics, downlink }: UpstreamStatus): Summary {
	const first = [problem, ...[...topics, ...downlink].map((each) => each.problem)].find((each) => each !== undefined);
	const summary = {
		servers: [...servers],
		state,
		lagRecords: 0,
		lagBytes: 0,
		quarantinedRecords: 0,
		lostRecords: 0,
		...(nextMs === undefined ? {} : { nextMs }),
		...(lastSentMs === undefined ? {} : { lastSentMs }),
		...(first === undefined ? {} : { problem: withoutUndefined(first) as unknown as NonNullable<Summary["problem"]> }),
	};
	for (const topic of topics) {
		summary.lagRecords += topic.lagRecords;
		summary.lagBytes += topic.lagBytes;
		summary.quarantinedRecords += topic.quarantinedRecords;
		summary.lostRecords += topic.lostRecords;
	}
	return summary;
}

function stepItem({ topic, partition, from, to, againRecords, skippedRecords }: UpstreamResetStep): CborValue {
	return [topic, partition, from ?? null, to, againRecords, skippedRecords];
}
