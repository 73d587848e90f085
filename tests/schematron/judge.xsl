<?xml version="1.0" encoding="UTF-8"?>
<!-- SPDX-License-Identifier: EUPL-1.2 -->
<!--
  Runs Schematron rule files over XML files in one go: SchXslt turns each rule file into a stylesheet once,
  which then judges every file. All in one start of the Java machine, because starting it is what takes time.

  Parameters: rules, files: URIs, one a line. compiler: URI of SchXslt's pipeline-for-svrl.xsl.
  Output: one line per failed assert: file, rule file, XPath, text, id of the assert, separated by tabs.
-->
<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
    xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:svrl="http://purl.oclc.org/dsdl/svrl"
    exclude-result-prefixes="#all">
  <xsl:output method="text" encoding="UTF-8"/>
  <xsl:param name="rules" as="xs:string" required="yes"/>
  <xsl:param name="files" as="xs:string" required="yes"/>
  <xsl:param name="compiler" as="xs:string" required="yes"/>

  <xsl:template name="xsl:initial-template">
    <xsl:variable name="documents" select="tokenize($files, '\n')[. != ''] ! doc(.)"/>
    <xsl:for-each select="tokenize($rules, '\n')[. != '']">
      <xsl:variable name="rule-file" select="replace(., '^.*/', '')"/>
      <xsl:variable name="stylesheet" select="transform(map {
          'stylesheet-location': $compiler, 'source-node': doc(.) })?output"/>
      <xsl:for-each select="$documents">
        <xsl:variable name="file" select="document-uri(.)"/>
        <xsl:variable name="report" select="transform(map {
            'stylesheet-node': $stylesheet, 'source-node': . })?output"/>
        <!-- A report without a fired rule would say nothing about the file: count as a failure of the judge. -->
        <xsl:if test="not($report//svrl:fired-rule)">
          <xsl:value-of select="$file, $rule-file, '/', 'keine Regel hat gegriffen', ''" separator="&#9;"/>
          <xsl:text>&#10;</xsl:text>
        </xsl:if>
        <xsl:for-each select="$report//svrl:failed-assert">
          <xsl:value-of separator="&#9;" select="$file, $rule-file,
              replace(@location, 'Q\{[^}]*\}', ''), normalize-space(svrl:text), string(@id)"/>
          <xsl:text>&#10;</xsl:text>
        </xsl:for-each>
      </xsl:for-each>
    </xsl:for-each>
  </xsl:template>
</xsl:stylesheet>
