/** Frames of the native protocol, and what is said to a frame that is too large. */
import * as base from "../../base/frames.ts";
import { ProtocolError } from "./protocol.ts";

/** `next` throws ProtocolError. */
export class FrameReader extends base.FrameReader {
	constructor(maxBytes: number) {
		super(maxBytes, refusal);
	}
}

function refusal(bytes: number, maxBytes: number): ProtocolError {
	if (bytes === 0) return new ProtocolError("INVALID_REQUEST", "a frame of no bytes");
	return new ProtocolError("MESSAGE_TOO_LARGE", `a frame of ${bytes} bytes where ${maxBytes} are the most`);
}
