/** From a request's bytes to its answer's, at one broker. A client that does what no client may is complained about, and cut off. */
import { apiName } from "../../../bridge/upstream/client/apis.ts";
import { decodeRequestHeader, encodeResponse } from "../../../src/kafka/protocol/header.ts";
import { ApiVersionsResponse } from "../../../src/kafka/protocol/messages/18-api-versions.ts";
import { MalformedMessage, Reader } from "../../../src/kafka/protocol/reader.ts";
import type { Decoded, Encodable, Fields } from "../../../src/kafka/protocol/schema.ts";
import { type AnyModelApi, advertised } from "./apis.ts";
import type { ModelBroker } from "./cluster-state.ts";
import { CODES } from "./codes.ts";

const API_VERSIONS = 18;

export interface Dispatched {
	/** "Produce". */
	readonly name: string;
	/** Calls `respond` once; with undefined where there is no answer. */
	run(respond: (answer: Buffer | undefined) => void): void;
}

/** Throws Complaint. */
export function dispatch(
	apis: ReadonlyMap<number, AnyModelApi>,
	broker: ModelBroker,
	frame: Buffer,
	throttleTimeMs: number,
): Dispatched {
	const reader = new Reader(frame);
	const flexibleFrom = (key: number) => apis.get(key)?.request.flexibleFrom ?? Number.POSITIVE_INFINITY;
	const header = sound(() => decodeRequestHeader(reader, flexibleFrom));
	const { apiKey, apiVersion: version, correlationId } = header;
	const api = apis.get(apiKey);
	if (api === undefined) throw new Complaint(`API ${apiKey} was not offered`);
	const { request, response, versions } = api;
	const name = apiName(api);
	if (apiKey === API_VERSIONS && version > versions[1]) {
		const refusal = { errorCode: CODES.UNSUPPORTED_VERSION, apiKeys: advertised([api]) };
		const answer = Buffer.concat(encodeResponse(ApiVersionsResponse, 0, correlationId, refusal));
		return { name, run: (respond) => respond(answer) };
	}
	if (version < Math.max(versions[0], request.minVersion) || version > versions[1])
		throw new Complaint(`${name} v${version} was not offered`);
	if (version > (api.usedUpTo ?? version)) throw new Complaint(`${name} v${version} is of transactions version 2`);
	const body: Decoded<Fields> = sound(() => {
		const decoded = request.decode(reader, version);
		reader.end();
		return decoded;
	});
	return {
		name,
		run: (respond) => {
			const answered = (answer: Encodable<Fields> | undefined) => {
				if (answer === undefined) respond(undefined);
				else respond(Buffer.concat(encodeResponse(response, version, correlationId, { ...answer, throttleTimeMs })));
			};
			api.handle(body, { broker, version, respond: answered });
		},
	};
}

export class Complaint extends Error {
	override readonly name = "Complaint";
}

function sound<T>(decode: () => T): T {
	try {
		return decode();
	} catch (error) {
		if (!(error instanceof MalformedMessage)) throw error;
		throw new Complaint(`a malformed request: ${error.message}`);
	}
}
