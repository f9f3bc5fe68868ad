/** The configuration keys of tiered storage: the gateway's name there, the object store, when and how much. As in keys.ts. */
import type { KeyDefinition } from "./definition.ts";
import { STORE_URL_MATCHES, STORE_URL_RIGHT, wrongStoreUrl } from "./store-url.ts";

const MAX_INT32 = 2_147_483_647;
const MAX_BYTES = Number.MAX_SAFE_INTEGER;
const CRON = "five fields: minute, hour, day of month, month, day of week; the gateway's local time";

export const TIER_KEYS = {
	"gateway.id": {
		kind: "text",
		fallback: "",
		// It is the first part of an object's key.
		shape: {
			matches: "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$",
			right: "1 to 64 of letters, digits, `.`, `_` and `-`, the first no dot, as line-3.gw7",
		},
		documentation:
			"The gateway's name in the object store, different for each gateway that uses the same bucket and prefix. Empty: the host's name, with `-` for what does not fit. What is stored stays under the name that it was stored under.",
	},
	"objectStore.url": {
		kind: "text",
		fallback: "",
		shape: { matches: STORE_URL_MATCHES, right: STORE_URL_RIGHT, wrong: wrongStoreUrl },
		documentation:
			"Where tiered storage keeps what leaves this machine: `s3://bucket` or `s3://bucket/prefix`, or a folder, as `file:///mnt/usb/headwater`. Empty: the folder `objects` in the data directory, which tries everything out and protects from nothing.",
	},
	"objectStore.endpoint": {
		kind: "text",
		fallback: "",
		shape: {
			matches: "^https?://([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?/?$",
			right: "https://host or https://host:port; bucket and prefix belong in objectStore.url",
		},
		documentation:
			"The S3 service, as `https://s3.example.com` or `http://192.168.1.20:9000`. Empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else Amazon's for the region.",
	},
	"objectStore.region": {
		kind: "text",
		fallback: "",
		shape: { matches: "^[A-Za-z0-9-]{1,64}$", right: "a region's name, as eu-central-1" },
		documentation:
			"The bucket's region. Empty: AWS_REGION, AWS_DEFAULT_REGION, else the one that the endpoint names; many services other than Amazon's take any.",
	},
	"objectStore.addressing": {
		kind: "choice",
		choices: ["auto", "path", "virtual"],
		fallback: "auto",
		documentation:
			"Where the bucket's name goes: `path`, behind the host, as `https://host/bucket`; `virtual`, before it, as `https://bucket.host`; `auto`, before it at Amazon and behind it elsewhere.",
	},
	"objectStore.access.key": {
		kind: "text",
		fallback: "",
		documentation:
			"Access key id. Empty: AWS_ACCESS_KEY_ID, then `objectStore.credentials.file`, then the role of the machine or container, as Amazon's own tools look.",
	},
	"objectStore.secret.key": {
		kind: "text",
		fallback: "",
		secret: true,
		documentation:
			"The secret of `objectStore.access.key`; never shown. A credentials file or the environment keeps it out of the list of processes, where `--set` does not.",
	},
	"objectStore.session.token": {
		kind: "text",
		fallback: "",
		secret: true,
		documentation: "Of temporary credentials, beside access key and secret key; never shown.",
	},
	"objectStore.credentials.file": {
		kind: "text",
		fallback: "",
		documentation:
			"A credentials file of Amazon's form. Empty: AWS_SHARED_CREDENTIALS_FILE, else `~/.aws/credentials`. Read anew when what it gave has expired or is refused.",
	},
	"objectStore.profile": {
		kind: "text",
		fallback: "",
		documentation: "The section of the credentials file. Empty: AWS_PROFILE, else `default`.",
	},
	"objectStore.ca.file": {
		kind: "text",
		fallback: "",
		documentation:
			"PEM file of the authorities that may have signed the service's certificate. Empty: those that Node.js knows.",
	},
	"objectStore.timeout.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1000,
		maximum: 600_000,
		fallback: 30_000,
		documentation: "A request to the object store that has been silent for so long has failed, and is made again.",
	},
	"objectStore.part.bytes": {
		kind: "integer",
		unit: "bytes",
		// S3 takes no smaller part but the last.
		minimum: 5_242_880,
		maximum: 67_108_864,
		fallback: 8_388_608,
		documentation:
			"What goes to the object store in one request, at most. One such part is in memory while an upload runs; a cut link loses no more than one.",
	},
	"tier.schedule": {
		kind: "text",
		fallback: "",
		documentation: `When what is pending is uploaded: a cron expression (${CRON}), or \`never\`. Empty: once an hour, at a minute that follows from \`gateway.id\`, so that a fleet does not come all at once.`,
	},
	"tier.window": {
		kind: "text",
		fallback: "",
		documentation: `The minutes in which uploads may begin by themselves: a cron expression (${CRON}), as \`* 1-5 * * *\` for the night. Empty: all.`,
	},
	"tier.upload.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 0,
		maximum: MAX_BYTES,
		fallback: 67_108_864,
		documentation: "So much that is pending is uploaded before the schedule says so. 0: never.",
	},
	"tier.upload.age.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 0,
		maximum: MAX_INT32,
		fallback: 0,
		documentation: "What has been pending for so long is uploaded before the schedule says so. 0: never.",
	},
	"tier.bundle.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 65_536,
		maximum: 1_073_741_824,
		fallback: 67_108_864,
		documentation:
			"Record batches in one object, before compression, at most; what is pending beyond that goes into the next.",
	},
	"tier.cache.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 0,
		maximum: MAX_BYTES,
		fallback: 134_217_728,
		documentation:
			"How much of what is read from the object store more than once is kept on the disk, in the data directory. 0: nothing.",
	},
	"tier.read.window.bytes": {
		kind: "integer",
		unit: "bytes",
		minimum: 16_384,
		maximum: 16_777_216,
		fallback: 262_144,
		documentation:
			"How much one request reads from the object store, at least where there is more. Who reads on in order is read ahead for, with larger ones.",
	},
	"remote.fetch.max.wait.ms": {
		kind: "integer",
		unit: "ms",
		minimum: 1,
		maximum: MAX_INT32,
		fallback: 500,
		documentation:
			"How long a Kafka consumer's Fetch waits for the object store, at most; what comes later is there when it asks again.",
	},
} as const satisfies Record<string, KeyDefinition>;
