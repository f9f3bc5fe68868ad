/** The form of `objectStore.url`, and what is wrong with one that has another. Nothing of a store is known here. */

const BUCKET = "(?!.*\\.\\.)(?![0-9.]+(/|$))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]";
/** No part begins with a dot, so there is no `..`. */
const PREFIX_PART = "[A-Za-z0-9_-][A-Za-z0-9._-]*";

/** A regular expression that JSON Schema takes too. */
export const STORE_URL_MATCHES = `^(s3://${BUCKET}(/${PREFIX_PART})*/?|file:///.+)$`;
export const STORE_URL_RIGHT = "s3://bucket, s3://bucket/prefix or file:///folder";

/** What is wrong with a url that does not match, in words that follow it; undefined where nothing special can be said. */
export function wrongStoreUrl(url: string): string | undefined {
	if (/^[a-z0-9]+:\/\/[^/]*@/i.test(url))
		return "has a name or a secret before an @: those belong in objectStore.access.key and objectStore.secret.key";
	if (/^https?:/i.test(url)) return "is the address of a service: that belongs in objectStore.endpoint";
	if (/^[./~]/.test(url)) return "is a path: a folder is file:// with an absolute path behind it";
	if (/^file:/i.test(url)) return "names no absolute path: three slashes, as file:///mnt/usb";
	const bucket = /^s3:\/\/([^/]*)/.exec(url)?.[1];
	if (bucket === undefined) return undefined;
	if (!new RegExp(`^${BUCKET}$`).test(bucket))
		return `has no name of a bucket in it: 3 to 63 of a-z, 0-9, "-" and ".", no address`;
	return "has a prefix that is none: letters, digits and . _ - in parts that begin with no dot, with slashes between";
}
