/** How a test reaches an S3 service on this machine. */
import type { ObjectStoreOptions } from "../../tiering/object-store.ts";

const DEFAULTS: ObjectStoreOptions = {
	url: "s3://bucket/some/prefix",
	endpoint: undefined,
	region: "us-east-1",
	addressing: "auto",
	accessKey: "fake",
	secretKey: "fake-secret",
	sessionToken: undefined,
	credentialsFile: undefined,
	profile: undefined,
	caFile: undefined,
	timeoutMs: 10_000,
	partBytes: 5 * 1_048_576,
	bytesPerSecond: 0,
};

export function s3Options(given: Partial<ObjectStoreOptions>): ObjectStoreOptions {
	return { ...DEFAULTS, ...given };
}
