/* SPDX-License-Identifier: EUPL-1.2
 * What libxml2 itself takes to parse and validate one document: the least that any validating engine pays.
 * Reads repeat counts from standard input, one a line, and answers each with the nanoseconds it took.
 *
 *   libxml2_loop SCHEMA DOCUMENT
 */
#include <libxml/parser.h>
#include <libxml/xmlschemas.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void quiet(void *context, const char *message, ...) { (void)context; (void)message; }

int main(int count, char **arguments) {
    if (count != 3) return 2;
    xmlInitParser();
    xmlSchemaParserCtxtPtr parser = xmlSchemaNewParserCtxt(arguments[1]);
    xmlSchemaPtr schema = parser ? xmlSchemaParse(parser) : NULL;
    xmlSchemaFreeParserCtxt(parser);
    FILE *file = fopen(arguments[2], "rb");
    if (!schema || !file) return 3;
    static char bytes[16 << 20];
    int size = (int)fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    long times;
    while (scanf("%ld", &times) == 1) {
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (long n = 0; n < times; n++) {
            xmlDocPtr document = xmlReadMemory(bytes, size, NULL, NULL, XML_PARSE_NONET);
            xmlSchemaValidCtxtPtr validator = xmlSchemaNewValidCtxt(schema);
            xmlSchemaSetValidErrors(validator, quiet, quiet, NULL);
            int verdict = xmlSchemaValidateDoc(validator, document);
            xmlSchemaFreeValidCtxt(validator);
            xmlFreeDoc(document);
            if (verdict != 0) return 4;
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        printf("%.0f\n", (end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec));
        fflush(stdout);
    }
    return 0;
}
