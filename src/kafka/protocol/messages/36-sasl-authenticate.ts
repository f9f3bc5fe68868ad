/** SaslAuthenticate, API key 36. */
import { bytes, int16, int64, message, string } from "../schema.ts";

export const SaslAuthenticateRequest = message(
	36,
	"SaslAuthenticateRequest",
	{ versions: [0, 2], flexible: 2 },
	{
		authBytes: bytes,
	},
);

export const SaslAuthenticateResponse = message(
	36,
	"SaslAuthenticateResponse",
	{ versions: [0, 2], flexible: 2 },
	{
		errorCode: int16,
		errorMessage: string.nullable(),
		authBytes: bytes,
		sessionLifetimeMs: int64.in(1),
	},
);
