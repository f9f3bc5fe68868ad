/** SaslHandshake, API key 17. */
import { array, int16, message, string } from "../schema.ts";

export const SaslHandshakeRequest = message(
	17,
	"SaslHandshakeRequest",
	{ versions: [0, 1] },
	{
		mechanism: string,
	},
);

export const SaslHandshakeResponse = message(
	17,
	"SaslHandshakeResponse",
	{ versions: [0, 1] },
	{
		errorCode: int16,
		mechanisms: array(string),
	},
);
