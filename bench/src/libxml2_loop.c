/* SPDX-License-Identifier: EUPL-1.2
 * What libxml2 itself takes to parse and validate one document: the least that any validating engine pays.
 * Reads repeat counts from standard input, one a line, and answers each with the nanoseconds it took until every
 * thread had done as many.
 *
 *   libxml2_loop SCHEMA DOCUMENT THREADS
 */
#include <libxml/parser.h>
#include <libxml/xmlschemas.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void quiet(void *context, const char *message, ...) { (void)context; (void)message; }

static char bytes[16 << 20];
static int size;
static long times;
static xmlSchemaPtr schema;

static void *work(void *context) {
    (void)context;
    for (long n = 0; n < times; n++) {
        xmlDocPtr document = xmlReadMemory(bytes, size, NULL, NULL, XML_PARSE_NONET);
        xmlSchemaValidCtxtPtr validator = xmlSchemaNewValidCtxt(schema);
        xmlSchemaSetValidErrors(validator, quiet, quiet, NULL);
        int verdict = xmlSchemaValidateDoc(validator, document);
        xmlSchemaFreeValidCtxt(validator);
        xmlFreeDoc(document);
        if (verdict != 0) exit(4);
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    xmlInitParser();
    xmlSchemaParserCtxtPtr parser = xmlSchemaNewParserCtxt(arguments[1]);
    schema = parser ? xmlSchemaParse(parser) : NULL;
    xmlSchemaFreeParserCtxt(parser);
    FILE *file = fopen(arguments[2], "rb");
    int threads = atoi(arguments[3]);
    if (!schema || !file || threads < 1 || threads > 64) return 3;
    size = (int)fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    while (scanf("%ld", &times) == 1) {
        struct timespec begin, end;
        pthread_t others[64];
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (int n = 1; n < threads; n++)
            if (pthread_create(&others[n], NULL, work, NULL) != 0) return 5;
        work(NULL);
        for (int n = 1; n < threads; n++) pthread_join(others[n], NULL);
        clock_gettime(CLOCK_MONOTONIC, &end);
        printf("%.0f\n", (end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec));
        fflush(stdout);
    }
    return 0;
}
