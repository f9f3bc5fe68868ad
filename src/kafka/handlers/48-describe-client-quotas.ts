/** DescribeClientQuotas: there are none; a filter that Kafka would refuse is refused. */
import { BrokerError } from "../../base/errors.ts";
import { api } from "../api.ts";
import { failure } from "../outcome.ts";
import {
	DescribeClientQuotasRequest,
	DescribeClientQuotasResponse,
} from "../protocol/messages/48-describe-client-quotas.ts";
import type { DecodedOf } from "../protocol/schema.ts";

type Component = DecodedOf<typeof DescribeClientQuotasRequest>["components"][number];

/** Kafka's numbers. */
const MATCH = { EXACT: 0, DEFAULT: 1, ANY: 2 } as const;
const ENTITY_TYPES = ["user", "client-id", "ip"];

export const describeClientQuotas = api({
	request: DescribeClientQuotasRequest,
	response: DescribeClientQuotasResponse,
	versions: [0, 1],
	handle: ({ components }) => {
		try {
			check(components);
			return { errorMessage: null, entries: [] };
		} catch (error) {
			return { ...failure(error), entries: null };
		}
	},
	refuse: (_request, errorCode, errorMessage) => ({ errorCode, errorMessage, entries: null }),
});

/** Throws INVALID_REQUEST, UNSUPPORTED_VERSION. */
function check(components: readonly Component[]): void {
	const types = new Set<string>();
	for (const { entityType, matchType, match } of components) {
		if (types.has(entityType)) throw new BrokerError("INVALID_REQUEST", `more than one filter of ${entityType}`);
		types.add(entityType);
		if (entityType === "") throw new BrokerError("INVALID_REQUEST", "a filter of no entity type");
		if (!ENTITY_TYPES.includes(entityType))
			throw new BrokerError("UNSUPPORTED_VERSION", `unknown entity type ${entityType}`);
		if (matchType < MATCH.EXACT || matchType > MATCH.ANY)
			throw new BrokerError("INVALID_REQUEST", `unknown match type ${matchType}`);
		if ((matchType === MATCH.EXACT) === (match === null))
			throw new BrokerError("INVALID_REQUEST", "a name belongs to an exact match, and to no other");
	}
	if (types.has("ip") && types.size > 1) throw new BrokerError("INVALID_REQUEST", "a filter of ip stands alone");
}
