/** A question about one partition, which its leader answers; asked again, within bounds, where the reason passes. */
import type { Encodable, Fields } from "../../../src/kafka/protocol/schema.ts";
import { type Api, apiName } from "./apis.ts";
import { Attempts } from "./attempts.ts";
import type { Cluster, RequestOptions } from "./cluster.ts";
import type { Answer } from "./connection.ts";
import { KafkaError, kafkaError } from "./kafka-error.ts";
import { LinkError } from "./link-error.ts";

export interface LeaderQuestion<S extends Fields> extends RequestOptions {
	readonly signal: AbortSignal;
	/** What the answer says of the partition; undefined: nothing. */
	readonly codeOf: (body: Answer<S>["body"]) => number | undefined;
}

/** Of connections that broke: another broker may lead the partition since. */
const LINK_ERRORS_MAX = 1;

/** Questions only: it may be asked more than once. Rejects with KafkaError, LinkError; with the signal's reason. */
export async function askLeader<Q extends Fields, S extends Fields>(
	cluster: Cluster,
	{ topic, partition }: { readonly topic: string; readonly partition: number },
	api: Api<Q, S>,
	value: Encodable<Q>,
	{ codeOf, ...options }: LeaderQuestion<S>,
): Promise<Answer<S>["body"]> {
	const { signal } = options;
	const { clock, random, requestTimeoutMs: patienceMs } = cluster.options;
	const attempts = new Attempts({ clock, random, patienceMs, signal });
	const name = apiName(api);
	let linkErrors = 0;
	let isStale = cluster.topic(topic) === undefined;
	for (;;) {
		let problem: unknown;
		try {
			if (isStale) await cluster.refresh([topic], signal);
			isStale = false;
			const { body } = await cluster.toLeader(topic, partition, api, value, options);
			const code = codeOf(body);
			if (code === 0) return body;
			if (code === undefined)
				throw new LinkError(
					"malformed",
					`the answer to ${name} does not have partition ${partition} of topic ${topic}`,
				);
			problem = kafkaError(code, name, { topic });
		} catch (error) {
			problem = error;
		}
		if (problem instanceof KafkaError) {
			const { errorClass, code, api: asked } = problem;
			isStale = errorClass === "metadata";
			if (!isStale && errorClass !== "retry") throw problem;
			if (!(await attempts.again())) throw kafkaError(code, asked, { topic, lasting: true });
			continue;
		}
		if (!(problem instanceof LinkError) || problem.lasting || problem.failure === "malformed") throw problem;
		isStale = true;
		if (linkErrors++ >= LINK_ERRORS_MAX || !(await attempts.again())) throw problem;
	}
}
