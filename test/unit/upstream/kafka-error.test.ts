/** Every error of Kafka is decided: its class, and where a person can act, how. */
import { describe, expect, it } from "vitest";
import { type ErrorClass, type ErrorContext, kafkaError } from "../../../bridge/upstream/client/kafka-error.ts";
import { ERROR_CODES } from "../../../src/base/errors.ts";

/** Kafka 4.3's are -1 and 1 to this. */
const LAST = 133;
const classOf = (code: number, api: string, context: ErrorContext = {}): ErrorClass =>
	kafkaError(code, api, context).errorClass;

describe("errors of the central cluster", () => {
	it("are known up to Kafka 4.3, by the names that the broker here has too", () => {
		for (let code = -1; code <= LAST; code++) {
			if (code !== 0) expect(kafkaError(code, "Produce").name_, `${code}`).not.toMatch(/^ERROR_/);
		}
		for (const [name, code] of Object.entries(ERROR_CODES)) {
			if (code !== 0) expect(kafkaError(code, "Fetch").name_).toBe(name);
		}
	});

	it("that are newer pass, or hold up one topic", () => {
		expect(kafkaError(LAST + 1, "Produce")).toMatchObject({ name_: `ERROR_${LAST + 1}`, errorClass: "retry" });
		expect(classOf(LAST + 1, "Produce", { topic: "t", lasting: true })).toBe("topic");
	});

	it.each<[ErrorClass, string, readonly number[]]>([
		["retry", "Produce", [-1, 7, 19, 20, 51, 55, 60, 78, 89]],
		["metadata", "Produce", [3, 5, 6, 8, 9, 13, 56, 72, 74, 75, 80, 83, 100, 103, 129]],
		["coordinator", "EndTxn", [14, 15, 16, 52]],
		["reinitialise", "Produce", [45, 47, 48, 59, 120]],
		["reinitialise", "EndTxn", [48, 59, 120]],
		["expired", "AddPartitionsToTxn", [49, 105]],
		["fenced", "InitProducerId", [47, 90]],
		["fenced", "AddPartitionsToTxn", [47, 90]],
		["fenced", "EndTxn", [47, 90]],
		["fenced", "Produce", [90]],
		["record", "Produce", [2, 32, 87]],
		["size", "Produce", [10, 18]],
		["topic", "Produce", [17, 29, 43, 44]],
		["topic", "CreateTopics", [17, 29, 31, 36, 37, 38, 39, 40, 44]],
		["topic", "Fetch", [1, 2, 29]],
		["fatal", "Produce", [21, 31, 35, 42, 53, 76]],
		["fatal", "InitProducerId", [31, 35, 50, 53]],
		["fatal", "SaslAuthenticate", [33, 34, 58]],
		["fatal", "Metadata", [104, 114, 115]],
	])("are %s for %s: %j", (errorClass, api, codes) => {
		for (const code of codes) expect(classOf(code, api), `${code}`).toBe(errorClass);
	});

	it("that last hold up their topic, whatever passes usually; others stay what they are", () => {
		for (const code of [3, 5, 6, 7, 19, 56])
			expect(classOf(code, "Produce", { topic: "t", lasting: true }), `${code}`).toBe("topic");
		expect(classOf(7, "EndTxn", { transactionalId: "g", lasting: true })).toBe("retry");
		expect(classOf(32, "Produce", { topic: "t", lasting: true })).toBe("record");
		expect(classOf(90, "Produce", { topic: "t", lasting: true })).toBe("fenced");
	});

	it("that need a person say what to do", () => {
		for (let code = -1; code <= LAST; code++) {
			if (code === 0) continue;
			for (const api of ["Produce", "Fetch", "CreateTopics", "InitProducerId", "Metadata"]) {
				const { errorClass, action, name_ } = kafkaError(code, api, { topic: "t" });
				const needsPerson = ["fatal", "fenced", "size", "record"].includes(errorClass);
				if (needsPerson) expect(action, `${name_} of ${api}`).toMatch(/[.:]/);
				const lasting = kafkaError(code, api, { topic: "t", lasting: true });
				if (lasting.errorClass === "topic" && code !== ERROR_CODES.OFFSET_OUT_OF_RANGE)
					expect(lasting.action, `lasting ${name_} of ${api}`).toMatch(/[.:]/);
			}
		}
	});

	it("name the right to grant, for the request that lacked it", () => {
		const action = (api: string): string | undefined => kafkaError(29, api, { topic: "telemetry" }).action;
		expect(action("Produce")).toContain("--operation Write --topic telemetry");
		expect(action("AddPartitionsToTxn")).toContain("--operation Write");
		expect(action("Fetch")).toContain("--operation Read");
		expect(action("DescribeConfigs")).toContain("--operation DescribeConfigs");
		expect(kafkaError(53, "InitProducerId", { transactionalId: "headwater-g" }).action).toContain(
			"--operation Write --operation Describe --transactional-id headwater-g",
		);
		expect(kafkaError(31, "InitProducerId").action).toContain("--operation IdempotentWrite --cluster");
		expect(kafkaError(31, "CreateTopics", { topic: "t" }).action).toContain("--operation Create --cluster");
	});

	it("say what was asked, what it means, and the broker's own words", () => {
		expect(kafkaError(10, "Produce", { topic: "t", message: " batch of 9 bytes " }).message).toBe(
			"Produce of topic t: MESSAGE_TOO_LARGE (10); the batch is larger than the topic's max.message.bytes; the broker says: batch of 9 bytes",
		);
		expect(kafkaError(16, "EndTxn", { transactionalId: "g", message: null }).message).toBe(
			"EndTxn of transactional id g: NOT_COORDINATOR (16); the coordinator is another broker now",
		);
		expect(kafkaError(25, "Fetch", { message: "" }).message).toBe("Fetch: UNKNOWN_MEMBER_ID (25)");
	});
});
