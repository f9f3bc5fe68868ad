/**
 * ApiVersions: what is served, in which versions. No features are finalized, so that clients keep to classic groups and
 * to transactions of version 1.
 */
import { BrokerError } from "../../base/errors.ts";
import { type AnyApi, api } from "../api.ts";
import { ApiVersionsRequest, ApiVersionsResponse } from "../protocol/messages/18-api-versions.ts";

/** Kafka's rule for what clients call themselves, from version 3 on. */
const SOFTWARE = /^[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?$/;

/** `served` gives all APIs, this one with them. */
export const apiVersions = (served: () => readonly AnyApi[]) =>
	api({
		request: ApiVersionsRequest,
		response: ApiVersionsResponse,
		versions: [0, 4],
		handle(request, { version }) {
			if (version >= 3 && !(SOFTWARE.test(request.clientSoftwareName) && SOFTWARE.test(request.clientSoftwareVersion)))
				throw new BrokerError("INVALID_REQUEST", "the client's software name or version is empty or malformed");
			return {
				apiKeys: served().map(({ request, versions: [lowest, highest], advertisedFrom = lowest }) => ({
					apiKey: request.apiKey,
					minVersion: advertisedFrom,
					maxVersion: highest,
				})),
			};
		},
		refuse: (_request, errorCode) => ({ errorCode }),
	});
