/** From the configuration to an object store and to this gateway's name in it: the gateway and the commands ask the same. */
import { hostname } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import type { ObjectStoreOptions } from "../../tiering/object-store.ts";
import type { Config } from "../config/keys.ts";

/** Where no `objectStore.url` is set, within the data directory. */
const OBJECTS_FOLDER = "objects";
const GATEWAY_ID_LENGTH_MAX = 64;

/** How to reach the store that `objectStore.*` name; a relative `dataFolder` counts from the working directory. */
export function objectStoreOptions(config: Config, dataFolder: string): ObjectStoreOptions {
	const given = (text: string): string | undefined => (text === "" ? undefined : text);
	return {
		url: given(config["objectStore.url"]) ?? pathToFileURL(path.resolve(dataFolder, OBJECTS_FOLDER)).href,
		endpoint: given(config["objectStore.endpoint"]),
		region: given(config["objectStore.region"]),
		addressing: config["objectStore.addressing"],
		accessKey: given(config["objectStore.access.key"]),
		secretKey: given(config["objectStore.secret.key"]),
		sessionToken: given(config["objectStore.session.token"]),
		credentialsFile: given(config["objectStore.credentials.file"]),
		profile: given(config["objectStore.profile"]),
		caFile: given(config["objectStore.ca.file"]),
		timeoutMs: config["objectStore.timeout.ms"],
		partBytes: config["objectStore.part.bytes"],
		bytesPerSecond: config["uplink.bytes.per.second"],
	};
}

/** `gateway.id`, or the host's name made fit for it. */
export function gatewayId(config: Config, hostName = hostname()): string {
	if (config["gateway.id"] !== "") return config["gateway.id"];
	const fit = hostName
		.replaceAll(/[^A-Za-z0-9._-]+/g, "-")
		.replace(/^[.-]+/, "")
		.slice(0, GATEWAY_ID_LENGTH_MAX);
	return fit === "" ? "gateway" : fit;
}
