/** What an S3 service, or the way to it, said no with, as a StoreError that a person can act on. */
import { StoreError, type StoreErrorKind } from "../object-store.ts";
import type { S3Address } from "./s3-address.ts";
import { ConnectionFailure, S3Failure } from "./s3-transport.ts";

export interface ErrorContext {
	/** `put of gw/1/2.bundle`. */
	readonly what: string;
	readonly address: S3Address;
	/** For people; not the secret. */
	readonly accessKey: string;
	/** Where the credentials were found: `objectStore.access.key`, `AWS_ACCESS_KEY_ID` ... */
	readonly source: string;
	readonly nowMs: number;
	/** Whether the store's certificate was checked against objectStore.ca.file. */
	readonly ownCa: boolean;
}

/** Signatures are good for 15 minutes; a clock so far off explains a refusal that does not name it. */
const SKEW_MS = 300_000;

export function storeErrorOf(error: unknown, context: ErrorContext): StoreError {
	if (error instanceof StoreError) return error;
	const answer = error instanceof S3Failure ? error : lateFailure(error);
	const [kind, cause] = answer === undefined ? ofConnection(error, context) : ofAnswer(answer, context);
	return new StoreError(kind, `${context.address.name}: ${context.what}: ${cause}`, { cause: error });
}

type Answer = Pick<S3Failure, "status" | "code" | "message" | "region" | "serverMs" | "fromS3">;

/** A service that learns of its failure when it has answered 200 already says so in the text, which the client throws as it is. */
function lateFailure(error: unknown): Answer | undefined {
	const { Code, Message } = (error ?? {}) as { Code?: unknown; Message?: unknown };
	if (typeof Code !== "string") return undefined;
	return { status: 500, code: Code, message: `${Message}`, region: undefined, serverMs: undefined, fromS3: true };
}

function ofAnswer(failure: Answer, context: ErrorContext): [StoreErrorKind, string] {
	const { code, status } = failure;
	const { address, source, accessKey } = context;
	const said = [`${status}`, code, failure.message].filter((part) => part !== "").join(" ");
	const skewMs = failure.serverMs === undefined ? 0 : context.nowMs - failure.serverMs;
	const is = (...codes: string[]): boolean => codes.includes(code);
	if (is("RequestTimeTooSkewed") || (status === 403 && Math.abs(skewMs) > SKEW_MS)) {
		const server = failure.serverMs === undefined ? "" : `, the store's says ${time(failure.serverMs)}`;
		return ["skewed", `this machine's clock says ${time(context.nowMs)}${server}: set the clock right (${said})`];
	}
	if (is("NoSuchBucket"))
		return ["no-bucket", `there is no bucket ${address.bucket}: create it, or correct objectStore.url`];
	if (is("NoSuchUpload")) return ["no-such-upload", `there is no such upload any more (${said})`];
	if (is("NoSuchKey", "NotFound") || (status === 404 && code === "")) return ["not-found", "there is no such object"];
	if (is("PreconditionFailed") || status === 412) return ["exists", "there is such an object already"];
	if (failure.region !== undefined && failure.region !== address.region && [301, 307, 400].includes(status)) {
		return ["refused", `the bucket is in region ${failure.region}: set objectStore.region to it (${said})`];
	}
	if (is("InvalidAccessKeyId", "XAdminUserNotFound")) {
		return ["denied", `the store does not know the access key ${accessKey} (from ${source}): correct it (${said})`];
	}
	if (is("SignatureDoesNotMatch")) {
		return ["denied", `the secret key does not fit the access key ${accessKey} (from ${source}): correct it (${said})`];
	}
	if (is("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired")) {
		return ["denied", `the session token has expired (from ${source}): bring new credentials (${said})`];
	}
	if (is("InvalidToken", "InvalidTokenId", "InvalidSecurity")) {
		return ["denied", `the session token does not fit the access key ${accessKey} (from ${source}) (${said})`];
	}
	if (status === 507 || is("XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "StorageFull")) {
		return ["full", `the store takes no more: make room or raise the quota (${said})`];
	}
	if (status === 403 && code === "") {
		const how = "the key or its secret is wrong, or the bucket's policy forbids it";
		return ["denied", `the store refuses the access key ${accessKey} (from ${source}): ${how} (${said})`];
	}
	if (status === 401 || status === 403) {
		return ["denied", `the access key ${accessKey} may not do this: allow it in the bucket's policy (${said})`];
	}
	if (isPassing(failure)) return ["unreachable", `the store answered ${said}`];
	if (!failure.fromS3) {
		return [
			"unreachable",
			`something that is no S3 service answered ${said}: a proxy, or a portal that asks to log in?`,
		];
	}
	return ["refused", `the store answered ${said}`];
}

/** Busy, down, or what was sent arrived damaged. */
function isPassing({ status, code }: Answer): boolean {
	if (status >= 500 ? status !== 501 : status === 408 || status === 429) return true;
	return [
		"SlowDown",
		"RequestTimeout",
		"OperationAborted",
		"ConditionalRequestConflict",
		"BadDigest",
		"IncompleteBody",
		"XAmzContentSHA256Mismatch",
		"XAmzContentChecksumMismatch",
	].includes(code);
}

function ofConnection(error: unknown, { address, ownCa, nowMs }: ErrorContext): [StoreErrorKind, string] {
	const { code, message } =
		error instanceof Error ? (error as NodeJS.ErrnoException) : { code: "", message: `${error}` };
	const host = address.pathStyle ? address.host : `${address.bucket}.${address.host}`;
	const where = `${host}:${address.port}`;
	switch (code) {
		case "ENOTFOUND":
			return [
				"unreachable",
				`no name server knows the host ${host}: correct objectStore.endpoint, or the network is down`,
			];
		case "EAI_AGAIN":
			return ["unreachable", `no name server answers for ${host}: the network is down`];
		case "ECONNREFUSED":
			return ["unreachable", `nothing listens at ${where}`];
		case "ETIMEDOUT":
			return ["unreachable", `${message} (${where})`];
		case "EHOSTUNREACH":
		case "ENETUNREACH":
			return ["unreachable", `there is no way to ${where}: the network is down`];
		case "EPROTO":
			return ["unreachable", `${where} does not speak TLS: is objectStore.endpoint to begin with http://?`];
		case "CERT_NOT_YET_VALID":
			return [
				"skewed",
				`the certificate of ${where} is not valid yet, and this machine's clock says ${time(nowMs)}: set the clock right`,
			];
		case "CERT_HAS_EXPIRED":
			return ["unreachable", `the certificate of ${where} has expired; this machine's clock says ${time(nowMs)}`];
		case "ERR_TLS_CERT_ALTNAME_INVALID":
			return ["unreachable", `${where} has a certificate for another name (${message})`];
		case "DEPTH_ZERO_SELF_SIGNED_CERT":
		case "SELF_SIGNED_CERT_IN_CHAIN":
		case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
		case "UNABLE_TO_VERIFY_LEAF_SIGNATURE": {
			const hint = ownCa ? "objectStore.ca.file holds another one" : "name its authority in objectStore.ca.file";
			return [
				"unreachable",
				`the certificate of ${where} is signed by an authority not known here: ${hint} (${message})`,
			];
		}
	}
	if (error instanceof ConnectionFailure || code !== undefined) {
		return ["unreachable", `the connection to ${where} broke (${message})`];
	}
	return ["unreachable", `what ${where} answered makes no sense (${message})`];
}

const time = (ms: number): string => new Date(ms).toISOString();
