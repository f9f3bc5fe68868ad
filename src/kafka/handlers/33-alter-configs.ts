/** AlterConfigs: all of a topic's own settings are replaced by those given. */
import { BrokerError } from "../../base/errors.ts";
import { api } from "../api.ts";
import { alterResources } from "../config-changes.ts";
import { AlterConfigsRequest, AlterConfigsResponse } from "../protocol/messages/33-alter-configs.ts";

export const alterConfigs = api({
	request: AlterConfigsRequest,
	response: AlterConfigsResponse,
	versions: [0, 2],
	handle: ({ resources, validateOnly }, { services }) => ({
		responses: alterResources(services, resources, validateOnly, (topic, configs) => {
			const set: Record<string, string> = {};
			for (const { name, value } of configs) {
				if (value === null) throw new BrokerError("INVALID_REQUEST", `${name} is null: a value would be right`);
				set[name] = value;
			}
			return { set, unset: Object.keys(topic.config) };
		}),
	}),
	refuse: ({ resources }, errorCode, errorMessage) => ({
		responses: resources.map(({ resourceType, resourceName }) => ({
			errorCode,
			errorMessage,
			resourceType,
			resourceName,
		})),
	}),
});
