/**
 * Where an S3 store is: bucket and prefix of its url, host, port and region of its endpoint. Throws StoreError `refused`
 * with the key of the configuration that is wrong, so that a mistake is told before anything is sent.
 */
import { type ObjectStoreOptions, StoreError } from "../object-store.ts";

export interface S3Address {
	readonly bucket: string;
	/** Before every key: empty, or ends with a slash. */
	readonly prefix: string;
	readonly host: string;
	/** The same where the bucket turned out to be in this region. */
	readonly hostIn: (region: string) => string;
	readonly port: number;
	readonly tls: boolean;
	/** Signed for; undefined where none is given and the bucket's own is to be found out. */
	readonly region: string | undefined;
	readonly pathStyle: boolean;
	/** `s3://bucket/prefix at https://host`. */
	readonly name: string;
}

export const DEFAULT_REGION = "us-east-1";

export function s3Address(options: ObjectStoreOptions, env: NodeJS.ProcessEnv): S3Address {
	const place = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(options.url);
	if (place === null) throw wrong("url", options.url, "it is s3://bucket or s3://bucket/prefix");
	const bucket = place[1] as string;
	if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket) || bucket.includes("..") || /^[\d.]+$/.test(bucket)) {
		throw wrong("url", options.url, `${bucket} is no name of a bucket: 3 to 63 of a-z, 0-9, "-" and "."`);
	}
	const folder = (place[2] ?? "").replace(/^\/+|\/+$/g, "");
	if (!/^[\w.\-/]*$/.test(folder)) throw wrong("url", options.url, "a prefix is of letters, digits and . _ - /");
	const given = options.region ?? env.AWS_REGION ?? env.AWS_DEFAULT_REGION;
	const endpoint = options.endpoint ?? env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL;
	const url = endpoint === undefined ? amazonEndpoint(given ?? DEFAULT_REGION) : endpointUrl(endpoint);
	const tls = url.protocol === "https:";
	const host = url.hostname.replace(/^\[|\]$/g, "");
	const amazon = /\.amazonaws\.com(\.cn)?$/.test(host);
	const wanted = options.addressing === "auto" ? !amazon : options.addressing === "path";
	// No certificate is good for a name with a dot more.
	const pathStyle = wanted || (tls && bucket.includes("."));
	if (!pathStyle && /^[\d.]+$|:/.test(host)) {
		throw wrong("addressing", options.addressing, `${host} is an address, before which no bucket's name can stand`);
	}
	const prefix = folder === "" ? "" : `${folder}/`;
	return {
		bucket,
		prefix,
		host,
		hostIn: (region) => (endpoint === undefined ? amazonEndpoint(region).hostname : host),
		port: url.port === "" ? (tls ? 443 : 80) : Number(url.port),
		tls,
		region: given ?? (endpoint === undefined ? undefined : regionOf(host)),
		pathStyle,
		name: `s3://${[bucket, folder].filter((part) => part !== "").join("/")} at ${url.origin}`,
	};
}

function amazonEndpoint(region: string): URL {
	return new URL(`https://s3.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`);
}

/** Of a host of AWS's own. */
function regionOf(host: string): string | undefined {
	return /^s3[.-]([a-z]+(?:-[a-z]+)+-\d)\.amazonaws\./.exec(host)?.[1];
}

function endpointUrl(endpoint: string): URL {
	const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
	if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === "") {
		throw wrong("endpoint", endpoint, "it is https://host or https://host:port");
	}
	// Not said again: there may be a password in it.
	if (url.username !== "") throw wrong("endpoint", url.host, "keys belong in objectStore.access.key and .secret.key");
	if (url.pathname !== "/" || url.search !== "") {
		throw wrong("endpoint", endpoint, "it has no path: bucket and prefix belong in objectStore.url");
	}
	return url;
}

function wrong(key: string, value: string, what: string): StoreError {
	return new StoreError("refused", `objectStore.${key}: ${value}: ${what}`);
}
