/** Record headers that routes add to those of event-headers.ts. */

/** The MQTT topic published to, where a route rewrote it. */
export const ORIGINAL_TOPIC_HEADER = "mqtt.original-topic";
/** "1" on what a further route made of a publish that another one took: MQTT subscribers get that one's event. */
export const COPY_HEADER = "mqtt.copy";
