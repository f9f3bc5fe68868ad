/** All messages of Kafka's protocol that are defined, by name. */
import { readdirSync } from "node:fs";
import type { Fields, Message } from "../../src/kafka/protocol/schema.ts";

const FOLDER = new URL("../../src/kafka/protocol/messages/", import.meta.url);

export async function kafkaMessages(): Promise<ReadonlyMap<string, Message<Fields>>> {
	const messages = new Map<string, Message<Fields>>();
	for (const file of readdirSync(FOLDER)) {
		const module = (await import(new URL(file, FOLDER).href)) as Record<string, Message<Fields>>;
		for (const message of Object.values(module)) messages.set(message.name, message);
	}
	return messages;
}
