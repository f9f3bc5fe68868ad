/** The topics of a life that replicates. */

export const GATEWAY = "gw";
/** Of the central topic "small". */
export const SMALL_BYTES = 600;
/** All of whose records are there in the end. */
export const COMPARED = ["telemetry", "alarms", "live", "same", "small"];
/** Whose records go, by retention and DeleteRecords; made anew here; made anew there. */
export const BOOKED = ["kept", "remade", "renewed"];
