/** Which version of a request a broker and this client both know. */
import type { Fields } from "../../../src/kafka/protocol/schema.ts";
import { type Api, apiName } from "./apis.ts";
import { LinkError } from "./link-error.ts";

interface Range {
	readonly minVersion: number;
	readonly maxVersion: number;
}

export class BrokerVersions {
	readonly #ranges = new Map<number, Range>();

	/** As ApiVersions has them. */
	constructor(ranges: readonly (Range & { readonly apiKey: number })[]) {
		for (const { apiKey, minVersion, maxVersion } of ranges) this.#ranges.set(apiKey, { minVersion, maxVersion });
	}

	/** The highest that both know, at most `atMost`; undefined: none. */
	highest<Q extends Fields, S extends Fields>({ request }: Api<Q, S>, atMost: number): number | undefined {
		const range = this.#ranges.get(request.apiKey);
		if (range === undefined) return undefined;
		const version = Math.min(range.maxVersion, request.maxVersion, atMost);
		return version >= range.minVersion && version >= request.minVersion ? version : undefined;
	}

	/** Why there is none. */
	refusal<Q extends Fields, S extends Fields>(api: Api<Q, S>, atMost: number, where: string): LinkError {
		const { request } = api;
		const range = this.#ranges.get(request.apiKey);
		const there =
			range === undefined ? "does not know it" : `knows versions ${range.minVersion} to ${range.maxVersion}`;
		const here = `${request.minVersion} to ${Math.min(request.maxVersion, atMost)}`;
		return new LinkError("unsupported", `${apiName(api)}: ${where} ${there}, this gateway sends ${here}`, {
			lasting: true,
			action: "use a cluster that is compatible with Apache Kafka 2.1 or later",
		});
	}
}
