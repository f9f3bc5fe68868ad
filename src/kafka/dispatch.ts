/**
 * From a request's frame to the bytes of its answer: which API in which version, what to say to a version that is not
 * served, to bytes that are no such request, and to a handler that fails.
 */
import { BrokerError, ERROR_CODES } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { AnyApi, Call } from "./api.ts";
import { errorNumber } from "./error-number.ts";
import { decodeRequestHeader, encodeResponse, type RequestHeader } from "./protocol/header.ts";
import { ApiVersionsResponse } from "./protocol/messages/18-api-versions.ts";
import { MalformedMessage, Reader } from "./protocol/reader.ts";
import type { Peer, Services } from "./services.ts";

/** undefined: there is none. */
export type Answer =
	| {
			/** All of it, its size in front. */
			readonly parts: readonly Uint8Array[];
			/** To be called once, when the parts are not needed any more. */
			readonly sent: (() => void) | undefined;
	  }
	| undefined;

/** An answer that is still to come. */
export interface AnswerToCome {
	readonly answer: Promise<Answer>;
	/** Memory that the request takes until then, bytes, roughly: its frame and what was decoded of it. */
	readonly requestBytes: number;
}

/** A request that is answered by closing its connection, as Kafka does; the message says what was wrong with it. */
export class UnanswerableRequest extends Error {
	override readonly name = "UnanswerableRequest";
}

type AnyRequest = ReturnType<AnyApi["request"]["decode"]>;

/** What an answer is taken for of which nobody knows the size before it is made. */
const LARGE_ANSWER_BYTES = 1024 * 1024;
const NEVER_FLEXIBLE = Number.POSITIVE_INFINITY;

export class Dispatch {
	readonly #apis: readonly (AnyApi | undefined)[];
	readonly #services: Services;
	readonly #logger: Logger;
	readonly #flexibleFrom = (apiKey: number): number => this.#apis[apiKey]?.request.flexibleFrom ?? NEVER_FLEXIBLE;

	constructor(apis: readonly AnyApi[], services: Services) {
		const byKey: (AnyApi | undefined)[] = [];
		for (const api of apis) byKey[api.request.apiKey] = api;
		this.#apis = byKey;
		this.#services = services;
		this.#logger = services.broker.logger;
	}

	/** Whether the request is handled only when all before it on its connection are answered. */
	waitsForEarlier(frame: Buffer): boolean {
		return frame.length >= 2 && this.#apis[frame.readInt16BE(0)]?.waitsForEarlier === true;
	}

	/** Handles a request. Throws UnanswerableRequest, or rejects with it. */
	handle(frame: Buffer, peer: Peer): Answer | AnswerToCome {
		const reader = new Reader(frame);
		const answer = this.#handle(reader, peer);
		if (!(answer instanceof Promise)) return answer;
		return { answer, requestBytes: frame.length + reader.decodedBytes };
	}

	#handle(reader: Reader, peer: Peer): Answer | Promise<Answer> {
		const header = this.#header(reader);
		const { apiKey, apiVersion: version } = header;
		const api = this.#apis[apiKey];
		if (api === undefined) throw new UnanswerableRequest(`API key ${apiKey} is not served`);
		const served = version >= api.versions[0] && version <= api.versions[1];
		if (!served && apiKey === ApiVersionsResponse.apiKey) return unknownApiVersions(api, header);
		if (version < api.request.minVersion || version > api.request.maxVersion)
			throw new UnanswerableRequest(`${api.request.name} has no version ${version}`);
		const request = decode(api, reader, version);
		const call = new OneCall(this.#services, peer, header);
		if (!served) {
			const [lowest, highest] = api.versions;
			const message = `${api.request.name} is served in versions ${lowest} to ${highest}, not ${version}`;
			return this.#refuse(api, header, request, new BrokerError("UNSUPPORTED_VERSION", message), call);
		}
		const wait = api.hasLargeAnswer === true ? call.claimRoom(LARGE_ANSWER_BYTES) : undefined;
		if (wait === undefined) return this.#answer(api, header, request, call);
		return wait.then(() =>
			peer.closed ? encode(api, header, undefined, call) : this.#answer(api, header, request, call),
		);
	}

	#answer(api: AnyApi, header: RequestHeader, request: AnyRequest, call: OneCall): Answer | Promise<Answer> {
		try {
			const answer = api.handle(request, call);
			if (!(answer instanceof Promise)) return encode(api, header, answer, call);
			return answer
				.then((value) => encode(api, header, value, call))
				.catch((error: unknown) => this.#refuse(api, header, request, error, call));
		} catch (error) {
			return this.#refuse(api, header, request, error, call);
		}
	}

	#header(reader: Reader): RequestHeader {
		try {
			return decodeRequestHeader(reader, this.#flexibleFrom);
		} catch (error) {
			throw unanswerable(error, "the header of a request");
		}
	}

	#refuse(api: AnyApi, header: RequestHeader, request: AnyRequest, error: unknown, call: OneCall): Answer {
		const number = errorNumber(error);
		if (number === ERROR_CODES.UNKNOWN_SERVER_ERROR) this.#failed(api, header, error);
		const message = error instanceof BrokerError ? error.message : "the gateway failed at this request";
		let answer: Answer;
		try {
			answer = encode(api, header, api.refuse(request, number, message, call), call);
		} catch (again) {
			this.#failed(api, header, again);
			call.sent?.();
		}
		if (answer === undefined) throw new UnanswerableRequest(`${api.request.name} failed: ${message}`);
		return answer;
	}

	#failed(api: AnyApi, { apiVersion, clientId }: RequestHeader, error: unknown): void {
		this.#logger.error("a request of the Kafka door failed", {
			request: api.request.name,
			version: apiVersion,
			client: clientId,
			error: error instanceof Error ? (error.stack ?? String(error)) : String(error),
		});
	}
}

class OneCall implements Call {
	readonly services: Services;
	readonly peer: Peer;
	readonly version: number;
	readonly clientId: string | null;
	sent: (() => void) | undefined;
	#giveRoomBack: (() => void) | undefined;

	constructor(services: Services, peer: Peer, { apiVersion, clientId }: RequestHeader) {
		this.services = services;
		this.peer = peer;
		this.version = apiVersion;
		this.clientId = clientId;
	}

	whenSent(listener: () => void): void {
		const before = this.sent;
		this.sent = () => {
			before?.();
			listener();
		};
	}

	claimRoom(bytes: number): Promise<void> | undefined {
		const { peer } = this;
		let granted = (): void => {};
		let isGranted = false;
		const giveBack = this.services.outputRoom.claim(bytes, () => {
			isGranted = true;
			granted();
		});
		this.#giveRoomBack = giveBack;
		this.whenSent(giveBack);
		if (isGranted) return undefined;
		return new Promise((resolve) => {
			const stopListening = peer.onClose(resolve);
			granted = () => {
				stopListening();
				resolve();
			};
		});
	}

	giveRoomBack(): void {
		this.#giveRoomBack?.();
	}
}

function decode(api: AnyApi, reader: Reader, version: number): AnyRequest {
	try {
		return api.request.decode(reader, version);
	} catch (error) {
		throw unanswerable(error, `${api.request.name} version ${version}`);
	}
}

function unanswerable(error: unknown, what: string): unknown {
	return error instanceof MalformedMessage ? new UnanswerableRequest(`${what}: ${error.message}`) : error;
}

function encode(api: AnyApi, header: RequestHeader, value: unknown, call: OneCall): Answer {
	if (value === undefined) {
		call.sent?.();
		return undefined;
	}
	const parts = encodeResponse(api.response, header.apiVersion, header.correlationId, value as never);
	return { parts, sent: call.sent };
}

/** A client cannot know yet what is served: it gets version 0, which every client reads, and what there is of this API. */
function unknownApiVersions(api: AnyApi, { correlationId }: RequestHeader): Answer {
	const [minVersion, maxVersion] = api.versions;
	const parts = encodeResponse(ApiVersionsResponse, 0, correlationId, {
		errorCode: ERROR_CODES.UNSUPPORTED_VERSION,
		apiKeys: [{ apiKey: ApiVersionsResponse.apiKey, minVersion, maxVersion }],
	});
	return { parts, sent: undefined };
}
